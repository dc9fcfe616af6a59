"""The text of `--help`: the comment at the top of a command's config file, its groups with their options, its keys.

Hydra's own help composes every option of every group, which takes seconds; this module only reads files.
"""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def help_text(config_folder: Path, config_name: str) -> str:
    """Return the help of the command whose primary config is `config_name` in `config_folder`."""
    path = config_folder / f"{config_name}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    head = _head(lines)
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    groups = [f"  {group:<12} {', '.join(options)}" for group, options in _groups(config_folder, config)]
    parts = ["\n".join(line.removeprefix("#").removeprefix(" ") for line in head)]
    if groups:
        parts.append("Groups, chosen as GROUP=OPTION:\n" + "\n".join(groups))
    keys = [f"  {line}" for line in _own_keys(lines[len(head) :])]
    if keys:
        parts.append("Keys, set as KEY=VALUE like every key of a group (GROUP.KEY=VALUE):\n" + "\n".join(keys))
    parts.append("--cfg job prints the whole config; -m runs every combination of comma-separated values.")
    return "\n\n".join(parts) + "\n"


def _head(lines: list[str]) -> list[str]:
    """Return the lines of the comment at the top of the file."""
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]


def _groups(config_folder: Path, config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield (group, options) for each group of the defaults list, once, in the order of the list."""
    seen: set[str] = set()
    for entry in config.get("defaults", []):
        if not isinstance(entry, DictConfig):
            continue
        group = str(next(iter(entry))).split("@")[0].removeprefix("optional ").strip("/")
        folder = config_folder / group
        if group in seen or not folder.is_dir():
            continue
        seen.add(group)
        files = sorted(folder.rglob("*.yaml"))
        yield group, [str(path.relative_to(folder).with_suffix("")) for path in files]


def _own_keys(lines: list[str]) -> Iterator[str]:
    """Yield the lines of the file's own keys with their comments, without the defaults list and Hydra's settings."""
    is_shown = False
    for line in lines:
        if line and not line[0].isspace() and not line.startswith(("#", "-")):
            is_shown = not line.startswith(("defaults:", "hydra:"))
        if is_shown and line.strip():
            yield line
