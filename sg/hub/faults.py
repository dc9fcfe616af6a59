"""Errors of the hub as one sentence."""

import contextlib
from collections.abc import Iterator

from sg.core.errors import DataError, MissingInputError, SgError, first_line


@contextlib.contextmanager
def hub_problems_in_one_sentence(repo: str) -> Iterator[None]:
    """Raise a DataError or MissingInputError for every error of the hub or of the network.

    Raises:
        MissingInputError: there is no such repository, or the token may not read it.
        DataError: everything else; the same command resumes.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # they would hide this project's own
    try:
        yield
    except SgError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise MissingInputError(
            f"There is no repository {repo} with this revision that your token (HF_TOKEN) may read: check its name, or "
            "log in with `hf auth login`."
        ) from error
    except Exception as error:
        raise DataError(
            f"The transfer of {repo} failed ({first_line(error)}): check the token (HF_TOKEN) and the network, then "
            "run the same command again, which resumes."
        ) from error
