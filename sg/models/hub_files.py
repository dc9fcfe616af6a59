"""Finds the files of models, on this machine or on the model hub, and identifies them by their content.

Each failure becomes one sentence. Nothing here imports torch.
"""

from collections.abc import Callable
from pathlib import Path

from sg.artefacts.checkpoint import INFO_FILE
from sg.core.content import file_content
from sg.core.errors import MissingInputError
from sg.core.fingerprints import fingerprint
from sg.core.layout import located

_FOLDER_FILES = ["*.json", "*.safetensors", "*.bin"]
_IDENTIFYING_SUFFIXES = (".safetensors", ".bin", ".json", ".model")


def local_path(name: str) -> Path | None:
    """The folder or file `name` on this machine (see `located` for relative names), or None for a hub id."""
    path = located(name)
    return path if path.exists() else None


def present_file(name: str, file: str) -> Path | None:
    """The path of `file` in the model's folder or the hub's cache; if the model is a single file, the path of that."""
    path = local_path(name)
    if path is not None:
        return path / file if path.is_dir() else path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(cached) if isinstance(cached, str) else None


def part_identity(name: str | None, prefix: str = "") -> str | None:
    """Content of a model part on this machine (16 hex digits), or the hub id of a part that is not here.

    All bytes of its files count; `sg.core.content` reads a file once, and again only after it was replaced. `prefix`
    limits a folder to the files whose names begin with it.
    """
    if name is None:
        return None
    path = local_path(name)
    if path is None:
        return name
    if path.is_file():
        return file_content(path)
    # A stage checkpoint's INFO_FILE holds times, which do not change the model.
    files = (
        file for file in sorted(path.glob("[!.]*")) if file.suffix in _IDENTIFYING_SUFFIXES and file.name != INFO_FILE
    )
    return fingerprint({file.name: file_content(file) for file in files if file.name.startswith(prefix)})


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
