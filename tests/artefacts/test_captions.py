"""Captions map videos to texts and record their provenance."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.artefacts import captions as captions_module
from sg.artefacts.captions import CaptionRecord, StoredCaptions, read_captions, write_captions
from sg.core.errors import DataError, MissingInputError

ROWS = [
    CaptionRecord("b", "a red ball\nthen a cube", model="demo", input_tokens=3, cost_usd=0.25, parameters='{"t": 0}'),
    CaptionRecord("a", "=SUM(A1) <script>", quality_flags=("short", "markup"), created_at="2026-11-22T10:00:00+00:00"),
]


def test_captions_are_read_back_as_a_mapping_and_as_records(tmp_path: Path) -> None:
    captions = read_captions(write_captions(tmp_path / "new" / "captions.parquet", ROWS, {"captioner": "demo"}))

    assert dict(captions) == {"b": "a red ball\nthen a cube", "a": "=SUM(A1) <script>"}
    assert list(captions.records()) == ROWS
    assert captions.info == {"captioner": "demo"}
    assert "c" not in captions


def test_the_content_hash_depends_on_ids_and_texts_only(tmp_path: Path) -> None:
    def hash_of(*records: CaptionRecord) -> str:
        return read_captions(write_captions(tmp_path / "captions.parquet", records)).content_hash

    first = hash_of(CaptionRecord("a", "x"), CaptionRecord("b", "y"))
    assert hash_of(CaptionRecord("b", "y", cost_usd=1.0), CaptionRecord("a", "x")) == first
    assert hash_of(CaptionRecord("a", "xy"), CaptionRecord("b", "y")) != first
    assert hash_of(CaptionRecord("a", "x")) != first


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([CaptionRecord("a", "x"), CaptionRecord("a", "y")], "has two captions"),
        ([CaptionRecord("a", " \n")], "is empty"),
        ([CaptionRecord("../a", "x")], "not safe as a file name"),
        ([CaptionRecord("a", "x", parameters="{")], "not JSON"),
    ],
)
def test_wrong_captions_are_refused_and_leave_no_file(
    tmp_path: Path, records: list[CaptionRecord], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_captions(tmp_path / "captions.parquet", records)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_and_a_repeated_id_are_refused_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    with pytest.raises(MissingInputError, match="no captions at"):
        read_captions(path)
    table = pq.read_table(write_captions(path, ROWS))
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(DataError, match="two captions"):
        read_captions(path)


@pytest.mark.parametrize("bytes_at_once", [1, 100, 2**29])
def test_captions_that_stay_in_their_file_are_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_at_once: int
) -> None:
    monkeypatch.setattr(captions_module, "_BYTES_AT_ONCE", bytes_at_once)
    records = [CaptionRecord(f"v{row * 7 % 31}", "é" * row or "=", model="demo") for row in range(31)]
    path = write_captions(tmp_path / "captions.parquet", records)
    table, file = read_captions(path), StoredCaptions(path)
    assert (len(file), file.content_hash) == (31, table.content_hash)
    asked = ["v5", "absent", "v0", "v30"]
    assert list(file.texts(asked).items()) == [(video, table[video]) for video in ("v5", "v0", "v30")]
    assert file.among(asked) == ["v5", "v0", "v30"]


def test_a_stored_captions_without_rows_or_with_repeated_ids(tmp_path: Path) -> None:
    path = write_captions(tmp_path / "captions.parquet", [])
    assert (len(StoredCaptions(path)), StoredCaptions(path).content_hash) == (0, read_captions(path).content_hash)
    table = pq.read_table(write_captions(path, ROWS))
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(DataError, match="two captions"):
        StoredCaptions(path)


def test_unique_captions_are_those_that_no_other_of_the_given_videos_has(tmp_path: Path) -> None:
    texts = {"a": "x", "b": "y", "c": "x", "d": "z", "e": "y"}
    path = write_captions(tmp_path / "captions.parquet", [CaptionRecord(*row) for row in texts.items()])
    assert StoredCaptions(path).unique_among(["d", "a", "b", "e"]) == ["d", "a"]
    assert StoredCaptions(path).unique_among([]) == []
