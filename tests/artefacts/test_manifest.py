"""A manifest keeps all values, and refuses unsafe ids and paths on writing and reading."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.artefacts.manifest import (
    Manifest,
    VideoRecord,
    forget_in_manifest,
    read_manifest,
    records_of,
    usable_ids,
    video_path,
    write_manifest,
)
from sg.artefacts.names import check_relative_path, check_video_id, resolve_inside, safe_video_id
from sg.core.errors import DataError, MissingInputError

HOSTILE_IDS = ["", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\n", "CON", "nul.txt", "x.", "x ", "é", "C:x", "a" * 201]
HOSTILE_PATHS = [
    *("/etc/passwd", "../x.mp4", "a/../../x.mp4", "a//b", "a/./b", "a\\b", "C:/x.mp4", "a\0b.mp4", "a\n.mp4"),
    *("http://host/x.mp4", "file:/x.mp4", "concat:/a|b", "a/"),
]


def record(video_id: str, **values: object) -> VideoRecord:
    return replace(VideoRecord(video_id=video_id, source="test", path=f"{video_id}.mp4"), **values)  # type: ignore[arg-type]


def write(tmp_path: Path, *records: VideoRecord) -> Path:
    return write_manifest(tmp_path / "manifest.parquet", records)


def forge(tmp_path: Path, column: str, values: list[object]) -> Path:
    """A manifest of another program, with `values` in one column."""
    path = write(tmp_path, *(record(f"v{i}") for i in range(len(values))))
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.names.index(column), column, pa.array(values)), path)
    return path


def test_what_was_written_is_read_back_in_its_order(tmp_path: Path) -> None:
    rows = [
        record("b", duration_s=1.5, width=64, height=48, fps=25.0, num_frames=37, original_caption='"red"\nball, =1+1'),
        record("-dQw4w9WgXc", split="train", extra='{"label": "été"}'),
        record("a", path="", status="missing", reason="no file"),
    ]
    path = write_manifest(tmp_path / "deep" / "manifest.parquet", iter(rows), {"source": "test"})

    manifest = read_manifest(path)

    assert list(manifest.records()) == rows
    assert manifest.video_ids == ["b", "-dQw4w9WgXc", "a"]
    assert manifest.info == {"source": "test"}
    assert manifest.usable().video_ids == ["b", "-dQw4w9WgXc"]


def test_an_empty_manifest_is_valid(tmp_path: Path) -> None:
    assert len(read_manifest(write(tmp_path))) == 0


def test_the_content_hash_depends_on_every_value_and_on_the_order_but_not_on_the_chunks(tmp_path: Path) -> None:
    rows = [record(f"v{i}", original_caption="x" * i) for i in range(5)]
    manifest = read_manifest(write(tmp_path, *rows))
    chunked = Manifest(pa.concat_tables([manifest.table.slice(0, 2), manifest.table.slice(2)]))
    variants = [
        rows[::-1],
        rows[:4],
        [replace(rows[0], fps=1.0), *rows[1:]],
        [replace(rows[0], original_caption="x"), replace(rows[1], original_caption=""), *rows[2:]],
    ]
    hashes = {read_manifest(write(tmp_path, *variant)).content_hash for variant in variants}

    assert chunked.content_hash == manifest.content_hash
    assert len(hashes | {manifest.content_hash}) == 5


def test_rows_can_be_selected_in_a_wanted_order(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, *(record(f"v{i}") for i in range(4))))

    assert manifest.select(["v3", "v1"]).video_ids == ["v3", "v1"]
    with pytest.raises(DataError, match="'nope' is not in the manifest of 4 videos"):
        manifest.select(["v3", "nope"])


@pytest.mark.parametrize("video_id", HOSTILE_IDS)
def test_an_unsafe_id_is_refused_on_writing_and_on_reading(tmp_path: Path, video_id: str) -> None:
    with pytest.raises(DataError, match="not safe as a file name"):
        write(tmp_path, record(video_id, path="a.mp4"))
    with pytest.raises(DataError, match="not safe as a file name"):
        read_manifest(forge(tmp_path, "video_id", ["ok", video_id]))


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_an_unsafe_path_is_refused_on_writing_and_on_reading(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="not a plain relative path"):
        write(tmp_path, record("a", path=path))
    with pytest.raises(DataError, match="not a plain relative path"):
        read_manifest(forge(tmp_path, "path", ["ok.mp4", path]))


def test_usable_ids_and_chosen_rows_are_read_without_the_rest(tmp_path: Path) -> None:
    rows = [record("b"), record("a", status="missing", path=""), record("d"), record("c", extra='{"x": 1}')]
    path = write(tmp_path, *rows)
    assert usable_ids(path) == ["b", "d", "c"]
    assert records_of(path, ["c", "absent", "a", "b"]) == {"b": rows[0], "c": rows[3]}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("video_id", ["a", "a"], "'a' appears twice"),
        ("video_id", ["a", "x/y"], "not safe as a file name"),
        ("path", ["a.mp4", "../b.mp4"], "not a plain relative path"),
    ],
)
def test_usable_ids_of_an_unsafe_manifest_are_refused(
    tmp_path: Path, column: str, values: list[object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        usable_ids(forge(tmp_path, column, values))


def test_a_repeated_id_is_refused_on_writing_and_on_reading(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a' appears twice"):
        write(tmp_path, record("a"), record("a"))
    with pytest.raises(DataError, match="'b' appears twice"):
        read_manifest(forge(tmp_path, "video_id", ["a", "b", "b"]))


def test_a_refused_record_leaves_the_older_manifest_in_place(tmp_path: Path) -> None:
    path = write(tmp_path, record("a"))
    with pytest.raises(DataError):
        write(tmp_path, record("b"), record(".."))
    assert read_manifest(path).video_ids == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.parquet"]


def test_files_of_another_format_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no manifest at"):
        read_manifest(tmp_path / "manifest.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(text)
    pq.write_table(pa.table({"video_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no column 'source'"):
        read_manifest(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="column 'split' of the manifest is empty in row 1"):
        read_manifest(forge(tmp_path, "split", ["train", None]))
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(forge(tmp_path, "width", ["wide", "12"]))
    with pytest.raises(DataError, match="extra of video 'a' is not JSON"):
        write(tmp_path, record("a", extra="{"))


def test_links_are_followed_only_inside_the_videos_folder(tmp_path: Path) -> None:
    videos, secret = tmp_path / "videos", tmp_path / "secret.mp4"
    videos.mkdir()
    secret.touch()
    (videos / "real.mp4").touch()
    (videos / "inside.mp4").symlink_to("real.mp4")
    (videos / "outside.mp4").symlink_to(secret)

    assert video_path(videos, record("inside")) == videos / "real.mp4"
    with pytest.raises(DataError, match="leads out of"):
        resolve_inside(videos, "outside.mp4")


@given(st.text(st.characters(), min_size=1, max_size=300))
def test_any_text_becomes_a_safe_id(text: str) -> None:
    assert check_video_id(safe_video_id(text))


@given(st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=6, unique=True))
def test_different_texts_become_different_ids(texts: list[str]) -> None:
    assert len({safe_video_id(text) for text in texts}) == len(texts)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_path_that_is_accepted_stays_inside(text: str) -> None:
    root = Path("/somewhere/videos")
    try:
        check_relative_path(text)
    except DataError:
        return
    assert (root / text).is_relative_to(root)
    assert ".." not in Path(text).parts


def test_ids_that_are_safe_already_stay_as_they_are() -> None:
    for video_id in ("-dQw4w9WgXc", "_x", "1053841541", "v_1.2-3"):
        assert safe_video_id(video_id) == video_id


def test_a_changed_id_of_a_forgotten_video_is_reported(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path / "manifest.parquet", [VideoRecord("a", "x", "a.mp4"), VideoRecord("b", "x", "b.mp4")]
    )
    forget_in_manifest(path, ["a"])
    assert [(row.video_id, row.status) for row in read_manifest(path).records()] == [("a", "forgotten"), ("b", "ok")]
    file = tmp_path / "forgotten.txt"
    file.write_text(file.read_text().replace("a\n", "c\n", 1))
    with pytest.raises(DataError, match=r"forgotten\.txt is damaged or was edited .*: correct its ids"):
        write_manifest(path, [record("a")])
    file.write_text("a\nb\n")
    write_manifest(path, [record("b")])
    assert [row.status for row in read_manifest(path).records()] == ["forgotten"]
