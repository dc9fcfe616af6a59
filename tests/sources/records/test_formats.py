"""Caption files in the layouts, encodings and wrappers in which programs write them, each with its right captions."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, DataError
from sg.sources.scan.caption_files import CaptionFile

ROWS = [("a.mp4", "A cat"), ("b.mp4", "A dog, asleep")]
CSV = 'video,caption\na.mp4,A cat\nb.mp4,"A dog, asleep"\n'


def pairs(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(entry.video, entry.caption) for entry in CaptionFile(path, **columns).entries()]


def written(path: Path, value: Any) -> Path:
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    path.write_bytes(data)
    return path


def zipped(text: bytes, name: str = "c.csv") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, text)
    return stream.getvalue()


RECORDS = [{"video": video, "caption": caption} for video, caption in ROWS]
COCO = {
    "info": {"year": 2026},
    "videos": [{"id": 7, "file_name": "a.mp4"}, {"id": 8, "file_name": "b.mp4"}],
    "annotations": [{"id": 8, "video_id": 7, "caption": "A cat"}, {"id": 7, "video_id": 8, "caption": "A dog, asleep"}],
}
MSR_VTT = {
    "info": {"description": "MSR-VTT"},
    "videos": [{"category": 9, "url": "https://x", "video_id": name, "start time": 1, "end time": 9, "id": number}
               for number, (name, _) in enumerate(ROWS)],
    "sentences": [{"caption": caption, "video_id": name, "sen_id": 5} for name, caption in ROWS],
}  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        {"annotations": RECORDS},
        {"version": "1.0", "data": RECORDS, "licenses": [{"id": 1, "name": "x"}]},
        {"Captions": RECORDS},
        {"videos": RECORDS},
        COCO,
        {key: COCO[key] for key in ("annotations", "videos")},
        MSR_VTT,
        {"video": {"0": "a.mp4", "1": "b.mp4"}, "caption": {"0": "A cat", "1": "A dog, asleep"}},
        {"columns": ["video", "caption"], "index": [0, 1], "data": [list(row) for row in ROWS]},
        {"schema": {"fields": [{"name": "video", "type": "string"}]}, "data": RECORDS},
        {name: [caption] for name, caption in ROWS},
        {name: [{"caption": caption}] for name, caption in ROWS},
        {name: {"captions": [caption]} for name, caption in ROWS},
        [{"video": {"bytes": None, "path": name}, "caption": caption} for name, caption in ROWS],
        [{"id": 1, "video": name, "messages": [{"role": "assistant", "content": caption}]} for name, caption in ROWS],
        {str(number): record for number, record in enumerate(RECORDS)},
    ],
    ids=repr,
)
def test_published_layouts_of_json_are_read(tmp_path: Path, value: Any) -> None:
    assert pairs(written(tmp_path / "c.json", value)) == ROWS
    assert pairs(written(tmp_path / "c.json", json.dumps(value, indent=2))) == ROWS


@pytest.mark.parametrize("name", ["c.json", "c.jsonl"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(record) for record in RECORDS),
        ",\n".join(json.dumps(record) for record in RECORDS) + ",\n",
        "[\n" + ",\n".join(json.dumps(record) for record in RECORDS) + "\n]\n",
        "[" + ",".join(json.dumps(record) for record in RECORDS) + ",]",
    ],
)
def test_json_and_json_lines_are_told_apart_by_their_content(tmp_path: Path, name: str, text: str) -> None:
    assert pairs(written(tmp_path / name, text)) == ROWS


def test_objects_of_several_lines_one_after_the_other_are_read(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(record, indent=2) for record in RECORDS)
    assert pairs(written(tmp_path / "c.json", text)) == ROWS


def test_several_captions_of_a_video_are_rows_each(tmp_path: Path) -> None:
    texts = ["A cat", "A tabby"]
    for name, value in {
        "list.json": [{"video": "a.mp4", "caption": texts}],
        "map.json": {"a.mp4": texts},
        "c.jsonl": json.dumps({"video": "a.mp4", "captions": texts}),
        "python.csv": "video,caption\na.mp4,\"['A cat', 'A tabby']\"\n",
        "quoted.csv": 'video,caption\na.mp4,"[""A cat"", ""A tabby""]"\n',
    }.items():
        assert pairs(written(tmp_path / name, value)) == [("a.mp4", text) for text in texts]
    dense = {"a": {"timestamps": [[0, 5], [5, 9]], "sentences": texts}, "b": {"caption": "A dog"}}
    file = CaptionFile(written(tmp_path / "dense.json", dense))
    assert [entry.video for entry in file.entries()] == ["b"]
    assert file.problems == {"captions of 2 time ranges in one row": 1}


def test_an_object_of_records_and_texts_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", {"version": "1.3", "database": {"a.mp4": {"caption": "A cat"}}})
    with pytest.raises(DataError, match="records and texts side by side, such as 'version': write a list"):
        pairs(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.csv.bz2", "c.csv.xz"])
def test_compressed_texts_are_read_whatever_their_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    assert pairs(written(tmp_path / name, pack(CSV.encode()))) == ROWS
    assert pairs(written(tmp_path / name, CSV)) == ROWS
    long = CSV + "".join(f"{number}.mp4,A cow {number}\n" for number in range(5000))
    path = written(tmp_path / name, pack(long.encode())[:-40])
    with pytest.raises(DataError, match=r"file that is damaged or cut off .* copy or download it again"):
        pairs(path)
    damaged = bytearray(pack(long.encode()))
    damaged[len(damaged) // 2] ^= 255
    with pytest.raises(DataError, match="is a compressed file that is damaged"):
        pairs(written(tmp_path / name, bytes(damaged)))


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_byte_order_marks_are_read_also_where_there_are_several(tmp_path: Path, mark: bytes, times: int) -> None:
    encoding = {3: "utf-8", 2: "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be", 4: "utf-32-le"}[len(mark)]
    assert pairs(written(tmp_path / "c.csv", mark * times + CSV.encode(encoding))) == ROWS
    text = "\n".join(json.dumps(record) for record in RECORDS)
    assert pairs(written(tmp_path / "c.jsonl", mark * times + text.encode(encoding))) == ROWS


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (zipped(CSV.encode()), "is a zip archive or a workbook, but its name ends in .csv: unpack it"),
        (zipped(b"x", "xl/workbook.xml"), "is a zip archive or a workbook"),
        (b"PAR1" + bytes(20), "is a Parquet file, but its name ends in .csv: let its name end in .parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"\n<!DOCTYPE html><html>", "is a web page, but its name ends in .csv: download the file itself"),
        (b"<html><body>404", "is a web page"),
        (b"version https://git-lfs.github.com/v1\noid sha256:0\n", "is a pointer of Git LFS.*git lfs pull"),
        (b"\x28\xb5\x2f\xfd\x04", "is compressed with zstd"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, data: bytes, sentence: str) -> None:
    for name in ("c.csv", "c.json", "c.jsonl"):
        with pytest.raises(DataError, match=sentence.replace("csv", name[2:])):
            pairs(written(tmp_path / name, data))
    if not data.startswith(b"PAR1"):
        with pytest.raises(DataError, match="is not a Parquet file, or is damaged: it is "):
            pairs(written(tmp_path / "c.parquet", data))


def test_types_of_parquet_columns_are_read_where_they_are_names_and_texts(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(ids: pa.Array, captions: Any = ("x", "y")) -> Path:
        pq.write_table(pa.table({"id": ids, "caption": captions}), tmp_path / "c.parquet")
        return tmp_path / "c.parquet"

    texts = ["A cat", "A dog"]
    for array in (
        pa.array([105.0, 106.0, None]),
        pa.array([105, 106, None], pa.uint16()),
        pa.array([Decimal(105), Decimal(106), None], pa.decimal128(10, 0)),
        pa.array([b"105", b"106", None]),
        pa.array([b"105", b"106", None], pa.binary(3)),
        pa.array(["105", "106", None], pa.large_string()),
        pa.array(["105", "106", None]).dictionary_encode(),
    ):
        for captions in (
            pa.array([*texts, "x"]),
            pa.array([*map(str.encode, texts), b"x"]),
            pa.array([[t] for t in [*texts, "x"]]),
        ):
            file = CaptionFile(table(array, captions))
            assert [(e.video, e.caption) for e in file.entries()] == [("105", "A cat"), ("106", "A dog")]
            assert file.problems == {"video is not text": 1}
    mixed = CaptionFile(table(pa.array(["a", "b"]), pa.array([b"A cat", b"caf\xe9"])))
    assert [(e.video, e.caption) for e in mixed.entries()] == [("a", "A cat")]
    assert mixed.problems == {"caption is not text": 1}
    for array, problem in (
        (pa.array([1.5, 2.5]), "video is a number that is not a whole one"),
        (pa.array([2.0**60, 2.0**61]), "video is a number that is not a whole one"),
        (pa.array([b"\xff", b"\xfe"]), "video is bytes that are not UTF-8"),
        (pa.array([True, False]), "video is not text"),
    ):
        with pytest.raises(DataError, match=rf"0 captions \+ 2 problems \(2 {problem}, e\.g\. c\.parquet, record 1\)"):
            pairs(table(array))
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["x"]), pa.array(["y"])], ["id", "caption", "caption"])
    pq.write_table(twice, tmp_path / "c.parquet")
    with pytest.raises(DataError, match="two columns are called 'caption'"):
        pairs(tmp_path / "c.parquet")


def test_a_table_without_a_header_is_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", CSV.partition("\n")[2])
    with pytest.raises(ConfigError, match=r"no column for the video \(it has a.mp4, A cat\).*or add the header line"):
        pairs(path)
    with pytest.raises(ConfigError, match=r"no column for the caption \(it has video, cap.tion\)"):
        pairs(written(path, 'video,"cap\ntion"\na.mp4,A cat\n'))


def test_the_place_of_broken_json_is_that_in_the_file(tmp_path: Path) -> None:
    lines = ["[", *(json.dumps(record) + "," for record in RECORDS * 30_000), '{"video": "a", "caption" "x"}', "]"]
    with pytest.raises(DataError, match=r"Expecting ':' delimiter, line 60002: correct this place"):
        pairs(written(tmp_path / "c.json", "\n".join(lines)))
    with pytest.raises(DataError, match=r"it seems to be cut off: copy or download it again"):
        pairs(written(tmp_path / "c.json", "\n".join(lines[:-2])[:-9]))
