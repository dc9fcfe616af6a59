import os
import runpy
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from sg.report.figures.notebook import show, show_sheet, source_path
from sg.report.numbers.corpus import CaptionGroup, CoreClusters, CorpusNumbers
from sg.report.numbers.load import PUBLISHED, load_summary
from sg.report.pages.exports import corpus_markdown

ROOT = Path(__file__).parents[3]
NOTEBOOKS = ROOT / "notebooks"
PICTURES = {"benchmark": 3, "captions": 2, "clusters": 4, "scaling": 3}


def _texts(notebook: Any) -> list[str]:
    """The Markdown outputs. Pictures are left out, because fonts differ slightly between machines."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_the_committed_outputs_are_those_of_the_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    shutil.copy(NOTEBOOKS / f"{name}.ipynb", tmp_path)
    runpy.run_path(str(NOTEBOOKS / "refresh.py"))["refresh"](tmp_path / f"{name}.ipynb")
    committed, fresh = (nbformat.read(folder / f"{name}.ipynb", as_version=4) for folder in (NOTEBOOKS, tmp_path))
    assert _texts(fresh) == _texts(committed)
    pictures = [
        output for cell in fresh.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == PICTURES[name]


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_contains_no_logic(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert len(code.splitlines()) < 30
    assert not any(line.startswith(("def ", "for ", "class ")) for line in code.splitlines())


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(PICTURES)


def test_a_source_without_numbers_shows_a_sentence() -> None:
    published = load_summary(source_path(PUBLISHED))
    assert "no numbers" in show("tasks", published).data and "no numbers" in show("costs", published).data
    assert "no numbers" in show("map", CorpusNumbers()).data
    assert "no numbers" in show_sheet("experiments/demo_null", 99).data


def test_a_hostile_name_of_a_source_is_text_in_a_notebook() -> None:
    hostile = "<script>alert(1)</script>|$x"
    corpus = CorpusNumbers("tome", 3, [CaptionGroup("source", hostile, 3, 3, [1.0, 1, 1, 1, 1], 3)])
    shown = corpus_markdown(corpus)
    assert "<script>" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt;\\|" in shown
    assert show("captions", corpus).data.startswith(b"\x89PNG")
    cores = [CoreClusters(2, hostile, [[1, 2]], 0.5)]
    assert show("clusters", CorpusNumbers("tome", 3, cores=cores)).data.startswith(b"\x89PNG")
