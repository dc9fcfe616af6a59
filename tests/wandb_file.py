"""Read W&B's offline files as text."""

import subprocess
import sys
from pathlib import Path


def read_offline_run(file: Path) -> str:
    """Return the records of a `.wandb` file, one JSON object per line.

    The file is a log of 32 KiB blocks with a header each: a word that crosses the border of two blocks is not in its
    bytes in one piece, so tests must not search the bytes.
    """
    wandb = Path(sys.executable).parent / "wandb"
    command = [wandb, "leet", "inspect", "--json", file]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
