"""The golden cases of ToMe and the merge forest (tests/goldens/tome/README.md describes each field)."""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "goldens" / "tome"
FORESTS = sorted(path.stem for path in FOLDER.glob("forest_*.npz"))
ROUNDS = sorted(path.stem for path in FOLDER.glob("*.npz") if not path.stem.startswith(("forest_", "ties_")))


def load(name: str) -> dict[str, Any]:
    with np.load(FOLDER / f"{name}.npz") as data:
        return {key: data[key] if data[key].ndim else data[key].item() for key in data.files}
