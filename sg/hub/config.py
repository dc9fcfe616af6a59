"""Settings of `sg push` and `sg pull`."""

import re
from dataclasses import dataclass, field

from sg.core.commands import register
from sg.core.errors import ConfigError
from sg.core.mistakes import check_choice
from sg.core.output import TEXT, check_format
from sg.core.places.config import PathsConfig

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def _check_repo(repo: str) -> None:
    if not _REPO.fullmatch(repo):
        raise ConfigError(f"repo={repo!r} should be OWNER/NAME, the name of a repository on the hub.")


@dataclass
class PushConfig:
    """What is pushed, and where to.

    Attributes:
        path: the artefact: a file of captions, or a folder of captions, vectors, a merge forest, a stage checkpoint, a
            study, or a core that `python -m sg.caption export` wrote.
        repo: the repository, OWNER/NAME. It is created private if it does not exist.
        manifest: the manifest of the videos behind the artefact; null finds it in the folders above.
        licence: the licence of the repository, as the hub's cards name it.
        i_have_rights: you may publish this: needed for videos of your own, whose terms this program does not know.
        dry_run: list what would go up, and stop.
    """

    path: str = "???"
    repo: str = "???"
    manifest: str | None = None
    licence: str = "other"
    i_have_rights: bool = False
    dry_run: bool = False
    format: str = TEXT
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        check_format(self.format)
        _check_repo(self.repo)


@dataclass
class PullConfig:
    """What is pulled, and where to.

    Attributes:
        repo: the repository, OWNER/NAME.
        out: the folder that is written; files that are there already are not transferred again.
        revision: a branch, tag or commit; null takes the main branch.
        repo_type: `dataset`, `model`; null tries both.
    """

    repo: str = "???"
    out: str = "???"
    revision: str | None = None
    repo_type: str | None = None
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        _check_repo(self.repo)
        if self.repo_type is not None:
            check_choice("repo_type", self.repo_type, ("dataset", "model"))


register(None, "push_schema", PushConfig)
register(None, "pull_schema", PullConfig)
