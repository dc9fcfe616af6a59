"""`python -m sg.curate gallery=true`: look at the clusters before captions are bought and anything is trained."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sg.artefacts.manifest import read_manifest
from sg.core.errors import MissingInputError
from sg.curate.config import CurateConfig
from sg.curate.run import SourceFiles, _quoted, write_gallery
from sg.sources.config import DataConfig
from tests.report.study_builder import write_corpus

FOLDER = "it's [a] clip, {x}=1 \\\\'"


def test_the_clusters_are_shown_without_a_study_and_without_captions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus = {name: Path(path) for name, path in write_corpus(tmp_path / FOLDER).items()}
    config = CurateConfig(data=DataConfig(videos=str(corpus["videos"]), name="clips"), scales=["8", "12", "50k"])
    inputs = SourceFiles(read_manifest(corpus["manifest"]), corpus["manifest"], tmp_path, captions=None)
    write_gallery(config, inputs, corpus["forest"])
    page = corpus["forest"].parent / "gallery" / "index.html"
    assert page.is_file() and f"8 clusters, 8 of them with pictures: {page}" in capfd.readouterr().out
    assert len(list(page.parent.glob("core-8-*.png"))) == 6
    assert len(list(page.parent.glob("pictures/*/*-0.jpg"))) == 8


def test_a_gallery_that_cannot_be_written_is_an_error_and_the_forest_stays(tmp_path: Path) -> None:
    corpus = {name: Path(path) for name, path in write_corpus(tmp_path).items()}
    config = CurateConfig(data=DataConfig(videos=str(corpus["videos"]), name="clips"), scales=["8"])
    inputs = SourceFiles(read_manifest(corpus["manifest"]), tmp_path / "none.parquet", tmp_path, captions=None)
    with pytest.raises(MissingInputError, match="the forest is complete"):
        write_gallery(config, inputs, corpus["forest"])
    assert corpus["forest"].is_file()


@pytest.mark.parametrize("name", ["plain", "it's", "back\\", "back\\\\'quote", "{a}=[b], c", "ünï çode #1"])
def test_a_path_is_one_value_of_the_command_line(name: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"forest={_quoted(Path('/data') / name)}"])
    assert override.value() == f"/data/{name}"
