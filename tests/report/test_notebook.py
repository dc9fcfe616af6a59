import runpy
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def _texts(notebook: Any) -> list[str]:
    """What a reader sees of the outputs, pictures left out: fonts may draw them a little differently elsewhere."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]


@pytest.mark.slow
def test_the_committed_outputs_are_those_of_the_code(tmp_path: Path) -> None:
    shutil.copy(NOTEBOOKS / "scaling.ipynb", tmp_path)
    runpy.run_path(str(NOTEBOOKS / "refresh.py"))["refresh"](tmp_path / "scaling.ipynb")
    committed, fresh = (nbformat.read(folder / "scaling.ipynb", as_version=4) for folder in (NOTEBOOKS, tmp_path))
    assert _texts(fresh) == _texts(committed)
    pictures = [
        output for cell in fresh.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3


def test_the_notebook_holds_no_logic_of_its_own() -> None:
    notebook = nbformat.read(NOTEBOOKS / "scaling.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(code.splitlines()) < 30
    assert not any(line.startswith(("def ", "for ", "class ")) for line in code.splitlines())
