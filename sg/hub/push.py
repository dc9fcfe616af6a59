"""`python -m sg.hub.push path=ARTEFACT repo=OWNER/NAME`: upload an artefact; an interrupted upload resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.commands import command
from sg.core.errors import ConfigError
from sg.core.output import show
from sg.core.progress import Progress
from sg.hub.config import PushConfig
from sg.hub.faults import hub_problems_in_one_sentence

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from sg.hub.package import Package

SCHEMA = 1
"""Version of the JSON that `format=json` prints."""
_FILES, _BYTES = 100, 2 * 10**9
"""Most files and bytes of one commit: what a commit has uploaded is not uploaded again after an interruption."""


def push(config: PushConfig) -> None:
    """Upload what the repository does not have yet; the record of fingerprints comes last."""
    from sg.hub.package import package_of

    package = package_of(Path(config.path), None if config.manifest is None else Path(config.manifest))
    _check_rights(package, config)
    if config.dry_run:
        sizes = {name: path.stat().st_size for name, path in package.files.items()}
        plan: dict[str, Any] = {"repo": config.repo, "type": package.repo_type, "artefact": package.kind}
        plan |= {"files": sizes, "bytes": package.num_bytes, "licences": dict(package.licences)}
        show("push_plan", SCHEMA, plan, lambda: _plan_text(plan), config.format)
        return
    with hub_problems_in_one_sentence(config.repo):
        url = upload(package, config)
    result = {"repo": config.repo, "type": package.repo_type, "files": len(package.files), "url": url}
    show("push", SCHEMA, result, lambda: url, config.format)


def _check_rights(package: Package, config: PushConfig) -> None:
    """Refuse what may not be published.

    Raises:
        ConfigError: the terms of a source forbid it, or are not known and `i_have_rights` is not set.
    """
    if package.unpublished:
        source = package.unpublished[0]
        raise ConfigError(
            f"{config.path} comes from videos of {source}, whose terms forbid to publish it "
            f"({package.licences[source]}): leave these videos out."
        )
    if package.unknown and not config.i_have_rights:
        raise ConfigError(
            f"{config.path} comes from videos of {', '.join(package.unknown)}, whose terms this program does not know: "
            "check that you may publish it, then set i_have_rights=true."
        )


def upload(package: Package, config: PushConfig) -> str:
    """Create the repository if needed, upload the missing files in several commits, and return its address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from sg.hub.package import CARD_FILE, RECORD_FILE, as_bytes

    api = HfApi()
    url = api.create_repo(config.repo, repo_type=package.repo_type, private=True, exist_ok=True)
    there = _hashes_there(api, config.repo, package.repo_type)
    missing = {name: path for name, path in package.files.items() if there.get(name) not in _hashes_of(path)}
    missing.pop(CARD_FILE, None)
    done = package.num_bytes - sum(path.stat().st_size for path in missing.values())
    with Progress("push", package.num_bytes, "bytes", done_before=done) as bar:
        for part in _parts(missing):
            files = [CommitOperationAdd(name, str(path)) for name, path in part.items()]
            api.create_commit(config.repo, files, commit_message=f"{package.kind}: files", repo_type=package.repo_type)
            bar.advance(sum(path.stat().st_size for path in part.values()))
    last = {CARD_FILE: package.card(config.licence).encode(), RECORD_FILE: as_bytes(package.record())}
    ends = [CommitOperationAdd(name, data) for name, data in last.items() if there.get(name) != _git_hash(data)]
    if ends:
        api.create_commit(config.repo, ends, commit_message=f"{package.kind}: complete", repo_type=package.repo_type)
    return str(url)


def _hashes_there(api: HfApi, repo: str, repo_type: str) -> dict[str, str]:
    """{name: sha256 of a large file, git hash of a small one} of the files of the repository."""
    files: Any = api.list_repo_tree(repo, recursive=True, repo_type=repo_type)
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files if hasattr(file, "blob_id")}


def _hashes_of(path: Path) -> tuple[str, str]:
    """The two names that a repository may have for the content of a file."""
    with path.open("rb") as stream:
        large = hashlib.file_digest(stream, "sha256").hexdigest()
    small = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            small.update(block)
    return large, small.hexdigest()


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def _parts(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """The files in groups, one per commit."""
    part: dict[str, Path] = {}
    size = 0
    for name, path in files.items():
        if part and (len(part) == _FILES or size + path.stat().st_size > _BYTES):
            yield part
            part, size = {}, 0
        part[name] = path
        size += path.stat().st_size
    if part:
        yield part


def _plan_text(plan: Mapping[str, Any]) -> str:
    lines = [f"{plan['artefact']} to the {plan['type']} repository {plan['repo']}: {plan['bytes']:,} bytes"]
    lines += [f"  {size:>14,}  {name}" for name, size in plan["files"].items()]
    return "\n".join([*lines, *(f"  {source}: {terms}" for source, terms in plan["licences"].items())])


main = command("push", PushConfig, sweeps=False)(push)

if __name__ == "__main__":
    main()
