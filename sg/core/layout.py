"""Where the project's own files are: in a clone of the repository, or inside an installed wheel.

In a clone, `conf/` and `experiments/` are folders beside `sg/`, and a relative folder in a config starts at the clone.
A wheel holds the same folders as `sg/conf` and `sg/experiments`, and a relative folder starts at the current one.
"""

import re
import sys
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
_ABOVE = PACKAGE_FOLDER.parent

IS_CLONE = (_ABOVE / "conf" / "train.yaml").is_file() and (_ABOVE / "pyproject.toml").is_file()
CONFIG_FOLDER = _ABOVE / "conf" if IS_CLONE else PACKAGE_FOLDER / "conf"


def project_folder() -> Path:
    """The folder at which relative paths start: the clone, or the current folder where `sg` is installed."""
    return _ABOVE if IS_CLONE else Path.cwd()


def located(name: str) -> Path:
    """The absolute path of `name`: a path of the user, or a file that is part of this project.

    `work` is below `project_folder()`; `sg/demo/assets/vision_tower` and `experiments/scaling_webvid/published.csv` are
    found in a clone and in a wheel. The path need not exist.
    """
    path = project_folder() / name
    if IS_CLONE or path.exists():
        return path
    first = Path(name).parts[:1]
    if first == ("sg",):
        return _ABOVE / name
    return PACKAGE_FOLDER / name if first == ("experiments",) else path


def program(command: str) -> list[str]:
    """The words that start `train` or `evaluate` as a child process of this one, from any current folder."""
    if IS_CLONE:
        return [sys.executable, str(_ABOVE / f"{command}.py")]
    return [sys.executable, "-m", "sg", command]


def as_typed(text: str) -> str:
    """`text` with commands as this user can type them: a wheel holds no `train.py`, but the command `sg train`."""
    return text if IS_CLONE else re.sub(r"\bpython (train|evaluate)\.py\b", r"sg \1", text)
