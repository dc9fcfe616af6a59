"""Hidden files, such as a Mac's `._NAME` and the unfinished one of a killed process, are not read for their suffix."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sg.core.errors import MissingInputError
from sg.models.hub_files import part_identity
from sg.models.weight_files import checkpoint_files
from sg.sources.records.reading import annotation_files
from sg.sources.scan.overlap import benchmark_videos

LEFTOVER = "host-1-0badcafe.tmp"


def hidden_beside(path: Path) -> None:
    """The hidden files that a Mac and a killed process leave beside a file."""
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7 of a Mac")
    path.with_name(f".{path.name}.{LEFTOVER}{path.suffix}").write_bytes(path.read_bytes()[:20])


def test_annotations(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("videoid,name\n1,one\n")
    hidden_beside(table)
    assert annotation_files(str(tmp_path)) == annotation_files(str(tmp_path / "*.csv")) == [table]
    assert annotation_files(str(tmp_path / ".train*.csv")) == [tmp_path / f".train.csv.{LEFTOVER}.csv"]
    table.unlink()
    with pytest.raises(MissingInputError, match="no annotation files"):
        annotation_files(str(tmp_path))


def test_tables_of_a_benchmark(tmp_path: Path) -> None:
    table = tmp_path / "data" / "questions.jsonl"
    table.parent.mkdir()
    table.write_text('{"videoID": "abcdefghijk"}\n')
    for file in (table, table.with_name("x.parquet")):
        file.touch()
        hidden_beside(file)
    table.with_name("x.parquet").unlink()
    found = benchmark_videos(str(tmp_path))
    assert found is not None
    assert found.youtube_ids == {"abcdefghijk"}


def test_weights_and_the_identity_of_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(3)}, folder / "part.safetensors")
    (folder / "config.json").write_text("{}")
    before = part_identity(str(folder))
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in sorted(copy.iterdir()):
        hidden_beside(file)
    assert checkpoint_files(copy) == [copy / "part.safetensors"]
    assert part_identity(str(copy)) == before
    (copy / "part.safetensors").unlink()
    with pytest.raises(MissingInputError, match="no model weights"):
        checkpoint_files(copy)
