"""`python -m sg.hub.pull repo=OWNER/NAME out=DIR`: download an artefact and check its fingerprints."""

from pathlib import Path

from sg.core.commands import command
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json
from sg.core.fingerprints import file_hash
from sg.hub.config import PullConfig
from sg.hub.faults import hub_problems_in_one_sentence


def pull(config: PullConfig) -> None:
    """Download the files that `out` lacks, check all of them, and print the folder."""
    out = Path(config.out)
    download(config, out)
    kind = check_files(out)
    print(f"{kind}: {out}")


def download(config: PullConfig, out: Path) -> None:
    """Download a repository; what an interrupted download has transferred is kept.

    Raises:
        MissingInputError: there is no such repository.
        DataError: it cannot be downloaded.
    """
    from huggingface_hub import HfApi, snapshot_download

    types = ["dataset", "model"] if config.repo_type is None else [config.repo_type]
    for repo_type in types:
        try:
            with hub_problems_in_one_sentence(config.repo):
                # Asked first: without an answer, `snapshot_download` returns whatever `out` holds.
                commit = HfApi().repo_info(config.repo, repo_type=repo_type, revision=config.revision).sha
                snapshot_download(config.repo, repo_type=repo_type, revision=commit, local_dir=out)
            return
        except MissingInputError:
            if repo_type == types[-1]:
                raise


def check_files(folder: Path) -> str:
    """Compare the files of a pulled artefact with their fingerprints; returns the kind of the artefact.

    Raises:
        DataError: a file is missing or differs, or the repository holds no artefact of `sg push`.
    """
    from sg.hub.package import RECORD_FILE

    path = folder / RECORD_FILE
    if not path.is_file():
        raise DataError(f"{folder} has no {RECORD_FILE}: `sg push` has not written its repository, or not all of it.")
    record = read_json(path)
    for name, state in record["files"].items():
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing: run the same command again.")
        if file.stat().st_size != state["bytes"] or file_hash(file) != state["content"]:
            raise DataError(
                f"{file} differs from what was pushed (its fingerprint differs): delete it and run the same command "
                "again; if it differs again, the repository was changed."
            )
    return str(record["kind"])


main = command("pull", PullConfig, sweeps=False)(pull)

if __name__ == "__main__":
    main()
