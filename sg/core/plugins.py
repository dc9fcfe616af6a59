"""Plug-ins: files outside this project that register sources, benchmarks, captioners, embedders or curators.

There are two kinds, and both are loaded when a command starts: installed packages with an entry point in the group
`sg.plugins` (its value is a module), and the Python files in `plugins/` of the folder that `--config-dir` names. Both
run with the user's rights, like any installed package.
"""

import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path

from sg.core.errors import ConfigError

GROUP = "sg.plugins"
FOLDER = "plugins"


def load_plugins(arguments: list[str]) -> None:
    """Import all plug-ins; `arguments` is the command line, in which `--config-dir` may name a folder.

    Raises:
        ConfigError: a plug-in cannot be imported; the message names it.
    """
    modules = {point.name: point.value for point in entry_points(group=GROUP)}
    folder = config_dir(arguments)
    if folder is not None and (folder / FOLDER).is_dir():
        # At the end, so that no file there hides an installed module; child processes inherit the path.
        sys.path.append(str((folder / FOLDER).resolve()))
        modules |= {str(path): path.stem for path in sorted((folder / FOLDER).glob("*.py"))}
    for name, module in modules.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            raise ConfigError(f"The plug-in {name} cannot be imported: {type(error).__name__}: {error}.") from error


def config_dir(arguments: list[str]) -> Path | None:
    """Return the folder after `--config-dir` or `-cd` of a command line, as Hydra reads it."""
    for index, word in enumerate(arguments):
        flag, has_value, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            return Path(value if has_value else following).expanduser()
    return None
