from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.core.errors import DataError, MissingInputError
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig

OPTIONS = ["A. red.", "B. blue.", "C. green.", "D. black."]


def table_row(video: str, number: int, **changes: Any) -> dict[str, Any]:
    row = {"video_id": video, "duration": "short", "domain": "Knowledge", "sub_category": "Law"}
    row |= {"url": "", "videoID": f"yt_{video}", "question_id": f"{video}-{number}", "task_type": "OCR Problems"}
    return row | {"question": "What?", "options": OPTIONS, "answer": "C"} | changes


def benchmark_folder(folder: Path, rows: list[dict[str, Any]], name: str = "test-00000-of-00001.parquet") -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder


def config(folder: Path, **more: Any) -> VideoMmeConfig:
    return VideoMmeConfig(name="video_mme", folder=str(folder), **more)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_questions_are_grouped_by_video_in_the_order_of_the_table(tmp_path: Path) -> None:
    folder = benchmark_folder(tmp_path, [table_row("002", 1), table_row("001", 1), table_row("002", 2)])
    benchmark = read_benchmark(config(folder))
    assert [(v.video_id, [q.question_id for q in v.questions]) for v in benchmark.videos] == [
        ("002", ["002-1", "002-2"]),
        ("001", ["001-1"]),
    ]
    assert benchmark.num_questions == 3
    assert benchmark.videos[0].questions[0].options == tuple(OPTIONS)


PLACES = [
    *("videos/yt_001.mp4", "data/yt_001.MP4", "videos/yt_001.mkv", "yt_001.webm", "videos/yt_001.mov"),
    *(
        "video/yt_001.avi",
        "videos/data/yt_001.m4v",
        "videos/short/yt_001.mp4",
        "long/yt_001.MOV",
        "data/medium/yt_001.mkv",
    ),
]


@pytest.mark.parametrize("place", PLACES)
def test_videos_and_subtitles_are_found_in_the_layouts_that_users_have(place: str, tmp_path: Path) -> None:
    folder = benchmark_folder(tmp_path, [table_row("001", 1), table_row("002", 1)])
    video, subtitle = touch(folder / place), touch(folder / "subtitle" / "yt_001.srt")
    first, second = read_benchmark(config(folder)).videos
    assert (first.path, first.subtitle_path) == (video, subtitle)
    assert (second.path, second.subtitle_path) == (None, None)


def test_of_several_files_of_a_video_the_first_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = benchmark_folder(tmp_path, [table_row("001", 1)])
    first = touch(folder / "videos" / "yt_001.mp4")
    assert read_benchmark(config(folder)).videos[0].path == first
    assert "first is used" not in caplog.text
    touch(folder / "videos" / "yt_001.avi")
    touch(folder / "data" / "yt_001.mp4")
    assert read_benchmark(config(folder)).videos[0].path == first
    assert f"2 files have the name of another one, such as {first} and {first.with_suffix('.avi')}" in caplog.text


@pytest.mark.parametrize("name", ["videomme/test-00000-of-00001.parquet", "benchmark.parquet"])
def test_the_table_is_found_by_itself(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    benchmark_folder(tmp_path, [table_row("001", 1)], name)
    assert read_benchmark(config(tmp_path)).num_questions == 1


def test_the_content_hash_names_the_questions_not_the_folder(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = read_benchmark(config(benchmark_folder(one, [table_row("001", 1)])))
    assert first.content_hash == read_benchmark(config(benchmark_folder(two, [table_row("001", 1)]))).content_hash
    changed = read_benchmark(config(benchmark_folder(two, [table_row("001", 1, answer="D")])))
    assert first.content_hash != changed.content_hash


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([table_row("001", 1), table_row("001", 1)], "question 001-1 twice"),
        ([table_row("001", 1, options=["red", "blue", "green", "black"])], "expected 2 to 10 beginning A. B. C."),
        ([table_row("001", 1, options=["A. red"])], "expected 2 to 10 beginning A. B. C."),
        ([table_row("001", 1, answer="E")], "has the answer 'E'"),
        ([table_row("001", 1, question=None), table_row("002", 1)], "empty or wrongly typed cell"),
        ([table_row("001", 1), table_row("001", 2, duration="long")], "disagree about 'duration'"),
        ([table_row("001", 1), table_row("002", 1, videoID="yt_001")], "two videos the same file"),
        ([table_row("001", 1, videoID="../x")], "not safe as a file name"),
        ([{"video_id": "001", "question": "?"}], "has no column 'duration'"),
        ([table_row("001", 1, video_id=1)], "question 001-1 has 1 as 'video_id', expected text"),
        ([table_row("001", 1, video_id=["001"])], r"question 001-1 has \['001'\] as 'video_id', expected text"),
        ([table_row("001", 1, duration="")], "holds an empty question id, video id or duration"),
    ],
)
def test_an_inconsistent_table_is_refused_in_one_sentence(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    folder = benchmark_folder(tmp_path, rows)
    with pytest.raises(DataError, match=message) as caught:
        read_benchmark(config(folder))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test-00000-of-00001.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_benchmark(config(tmp_path))


@pytest.mark.parametrize("table", ["", "other.parquet"])
def test_a_missing_table_names_the_settings_to_change(table: str, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"set benchmark\.folder and benchmark\.table"):
        read_benchmark(config(tmp_path / "nothing", table=table))
