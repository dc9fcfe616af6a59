"""The published ShareGemini files are imported as they are, and exports can be read back."""

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.captions import CaptionRecord, read_captions, write_captions
from sg.artefacts.dialogs import read_dialogs
from sg.artefacts.manifest import VideoRecord, read_manifest, write_manifest
from sg.caption.exports.write import export, question
from sg.caption.local.imported import import_published
from sg.core.errors import DataError, MissingInputError
from sg.sources.files.tar_index import tar_members
from sg.sources.records.reading import read_records
from sg.sources.sets.sharegemini import PublishedCaption, published_caption
from tests.caption.hosted.builder import data_folder

SLUG = "stock-footage-a-dog-runs"


def record(video: str, caption: Any = "A dog runs.", **values: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<video>\nDescribe the video."}, {"from": "gpt", "value": caption}]
    return {"id": video, "video": f"{video}.mp4", "conversations": turns, **values}


def test_core_100k_becomes_captions_of_the_existing_videos(tmp_path: Path) -> None:
    videos = [VideoRecord("1053841541", "webvid", "videos/000001_000050/1053841541.mp4")]
    videos += [
        VideoRecord("k400-x", "kinetics400", "train/abc_000001_000011.mp4"),
        VideoRecord("other", "webvid", "o.mp4"),
    ]
    write_manifest(tmp_path / "manifest.parquet", videos)
    source, names = tmp_path / "sharegemini_webvid_core100k.json", tmp_path / "map.json"
    rows = [record(SLUG, "A <video> dog.\nIt runs."), record("train/abc_000001_000011"), record("gone")]
    rows += [record(SLUG), record("b", ""), record("c", None), {"id": "d"}]
    source.write_text(json.dumps(rows), encoding="utf-8")
    names.write_text(json.dumps({f"{SLUG}.mp4": "1053841541"}), encoding="utf-8")

    out = import_published(source, names, read_manifest(tmp_path / "manifest.parquet"), tmp_path / "captions.parquet")

    captions = read_captions(out)
    assert dict(captions) == {"1053841541": "A dog. It runs.", "k400-x": "A dog runs."}
    row = next(captions.records())
    assert (row.model, row.quality_flags) == ("gemini-1.5-pro", ("control_token", "imported"))
    assert json.loads(row.parameters)["question"] == "Describe the video."
    with pytest.raises(MissingInputError, match="source=FILE"):
        import_published(tmp_path / "none.json", names, read_manifest(tmp_path / "manifest.parquet"), out)
    with pytest.raises(DataError, match="name_map="):
        source.write_text(json.dumps([record("gone")]), encoding="utf-8")
        import_published(source, None, read_manifest(tmp_path / "manifest.parquet"), tmp_path / "captions.parquet")


def test_a_published_caption_goes_to_its_own_video_or_to_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    videos = [
        VideoRecord("a", "folder", "val/0001.mp4"),
        VideoRecord("7", "folder", "y/7.mp4"),
        VideoRecord("webvid-105", "webvid", "x/105.mp4"),
        VideoRecord("kinetics400-aaaaaaaaaaa@1000-11000", "kinetics400", "k/aaaaaaaaaaa_000001_000011.mp4"),
        VideoRecord("webvid-106", "webvid", "stock-footage-two.mp4"),
        VideoRecord("webvid-107", "webvid", "stock-footage-mapped.mp4"),
        VideoRecord("kinetics400-bbbbbbbbbbb@1000-11000", "kinetics400", "k/bbbbbbbbbbb.mp4"),
    ]
    write_manifest(tmp_path / "manifest.parquet", videos)
    rows = [
        record("train/0001", "another folder"),
        record("x/7", "another folder", id="a"),
        record("clips/105", "by number"),
        record("k400/aaaaaaaaaaa_000001_000011", "by time range"),
        record("stock-footage-two", "one of two"),
        record("stock-footage-two", "the other one"),
        record("stock-footage-mapped", "first"),
        record("stock-footage-mapped", "second"),
        record("bbbbbbbbbbb_000090_000100", "another part"),
        record("val/0001", "its own"),
        {"id": "x", "video": "y", "video ": 1, "conversations": [{"from": "gpt", "value": "caf\ufffd"}]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "map.json").write_text('{"stock-footage-mapped": "107"}', encoding="utf-8")
    with caplog.at_level("INFO"):
        out = import_published(
            tmp_path / "a.json",
            tmp_path / "map.json",
            read_manifest(tmp_path / "manifest.parquet"),
            tmp_path / "captions.parquet",
        )
    assert dict(read_captions(out)) == {
        "webvid-105": "by number",
        "kinetics400-aaaaaaaaaaa@1000-11000": "by time range",
        "webvid-107": "first",
        "a": "its own",
    }
    for count in ("3 missing", "2 ambiguous", "1 second captions of a video", "1 caption holds replacement characters"):
        assert count in caplog.text


def test_two_exports_are_the_same_bytes_and_can_be_read_back(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    data = data_folder(tmp_path, ["a", "b", "c"])
    (tmp_path / "videos" / "c.mp4").unlink()
    texts = {"a": "A <video> cat.", "b": "=cmd|'/C'!A1 <b>bold</b>", "c": "No video."}
    path = write_captions(tmp_path / "captions.parquet", [CaptionRecord(i, t, model="m") for i, t in texts.items()])

    def write(kind: str, name: str) -> Path:
        out = tmp_path / name
        sentence = export(path, read_manifest(data.manifest_path), Path(data.videos), out, kind, None, with_files=True)
        assert "2 captions, 1 left out" in sentence
        return out

    for kind, suffix in (("sharegemini", ".json"), ("chat_univi", ".json"), ("webdataset", ""), ("huggingface", "")):
        first, second = write(kind, f"{kind}1{suffix}"), write(kind, f"{kind}2{suffix}")
        files = [
            sorted(p for p in ([out] if out.is_file() else out.rglob("*")) if p.is_file()) for out in (first, second)
        ]
        assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    (dialog, _) = read_dialogs(tmp_path / "chat_univi1.json")
    assert dialog.turns[0].text.count("<video>") == 1 and question("a") in dialog.turns[0].text
    assert dialog.turns[1].text == "A cat."
    back = [published_caption(record) for record in read_records(tmp_path / "sharegemini1.json")]  # type: ignore[arg-type]
    assert [r.caption for r in back if isinstance(r, PublishedCaption)] == ["A cat.", texts["b"]]
    with tarfile.open(tmp_path / "webdataset1" / "00000.tar") as tar:
        assert tar.getnames() == ["test_a.json", "test_a.mp4", "test_b.json", "test_b.mp4"]
        assert {(m.mtime, m.uid) for m in tar.getmembers()} == {(0, 0)}
    table = pq.read_table(tmp_path / "huggingface1" / "data" / "test" / "train-00000-of-00001.parquet")
    assert table["video_id"].to_pylist() == ["a", "b"]
    assert "config_name: test" in (tmp_path / "huggingface1" / "README.md").read_text(encoding="utf-8")


def test_long_ids_and_ids_that_differ_by_a_point_have_their_own_keys_in_webdataset(tmp_path: Path) -> None:
    ids = ["v" * 190, "a.b", "a_b"]
    data = data_folder(tmp_path, ids)
    path = write_captions(tmp_path / "captions.parquet", [CaptionRecord(i, f"A cat {i}.") for i in ids])
    export(path, read_manifest(data.manifest_path), Path(data.videos), tmp_path / "out", "webdataset", with_files=True)
    with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
        records = {name: json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")}  # type: ignore[arg-type]
        assert len(tar.getnames()) == len(set(tar.getnames())) == 6
    assert sorted(record["video_id"] for record in records.values()) == sorted(ids)
    assert all(name.count(".") == 1 for name in records)
    problems: Counter[str] = Counter()
    found = [member.name for member in tar_members(tmp_path / "out" / "00000.tar", problems)]
    assert (len(found), problems) == (6, Counter())


def test_ids_select_a_core_for_an_export(tmp_path: Path) -> None:
    data = data_folder(tmp_path, ["a", "b"])
    path = write_captions(tmp_path / "captions.parquet", [CaptionRecord(i, "A cat.") for i in "ab"])
    export(path, read_manifest(data.manifest_path), Path(data.videos), tmp_path / "core.json", "chat_univi", ["b"])
    assert [dialog.dialog_id for dialog in read_dialogs(tmp_path / "core.json")] == ["b"]
    with pytest.raises(DataError, match="Nothing to export"):
        export(path, read_manifest(data.manifest_path), Path(data.videos), tmp_path / "core.json", "chat_univi", ["x"])
