"""Finds published files: on this machine or on the model hub. Each failure becomes one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sg.core.errors import MissingInputError
from sg.models.chat_univi.identity import local_path

_FOLDER_FILES = ["*.json", "*.safetensors", "*.bin"]


def weights_file(name: str, key: str, revision: str | None = None) -> Path:
    """The file `name`: a path on this machine, or OWNER/REPOSITORY/FILE on the hub.

    Raises:
        MissingInputError: it is not found; the message names the setting `key`.
    """
    path = local_path(name)
    if path is not None and path.is_file():
        return path
    parts = name.split("/", 2)
    if path is not None or len(parts) < 3 or not all(parts) or name.startswith((".", "~")):
        raise MissingInputError(
            f"{key}={name} is not a file on this machine, and not a file on the hub (OWNER/REPOSITORY/FILE)."
        )
    from huggingface_hub import hf_hub_download

    repository, file = f"{parts[0]}/{parts[1]}", parts[2]
    return _fetched(lambda: hf_hub_download(repository, file, revision=revision), name, key)


def checkpoint_folder(name: str, key: str, revision: str | None = None) -> Path:
    """The folder `name` of a model's files: on this machine, or OWNER/REPOSITORY on the hub.

    Raises:
        MissingInputError: it is not found; the message names the setting `key`.
    """
    path = local_path(name)
    if path is not None and path.is_dir():
        return path
    if path is not None or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise MissingInputError(f"{key}={name} is not a folder on this machine, and not OWNER/REPOSITORY on the hub.")
    from huggingface_hub import snapshot_download

    return _fetched(lambda: snapshot_download(name, revision=revision, allow_patterns=_FOLDER_FILES), name, key)


def _fetched(fetch: Callable[[], str], name: str, key: str) -> Path:
    from huggingface_hub import errors

    try:
        return Path(fetch())
    except errors.LocalEntryNotFoundError as error:
        reason = "it is not on this machine, and the hub cannot be reached or is switched off (HF_HUB_OFFLINE)"
        raise _missing(name, key, reason) from error
    except errors.HfHubHTTPError as error:
        raise _missing(name, key, _hub_reason(error, getattr(error.response, "status_code", None))) from error
    except (errors.HFValidationError, OSError) as error:
        raise _missing(name, key, f"the hub's answer: {(str(error).splitlines() or ['none'])[0]}") from error


def _hub_reason(error: Exception, status: int | None) -> str:
    from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError

    if isinstance(error, GatedRepoError) or status in (401, 403):
        return (
            f"the hub refused it ({status}): it may be gated; accept its terms on its page, then log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, RemoteEntryNotFoundError) or status == 404:
        return "the hub has no such file"
    return f"the hub answered {status}"


def _missing(name: str, key: str, reason: str) -> MissingInputError:
    return MissingInputError(f"{key}={name} could not be obtained: {reason}; or download it and give its path.")
