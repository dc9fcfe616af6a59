import json
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.benchmarks.custom import CustomBenchmarkConfig
from sg.evaluate.benchmarks.longvideobench import LongVideoBenchConfig
from sg.evaluate.benchmarks.mlvu import MlvuConfig
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.subtitles import read_cues, transcript_lines
from tests.evaluate.test_benchmark import OPTIONS, benchmark_folder, config, table_row, touch


def custom(folder: Path, *items: Any) -> BenchmarkConfig:
    folder.mkdir(exist_ok=True)
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    return CustomBenchmarkConfig("mine", str(folder))


def item(**changes: Any) -> dict[str, Any]:
    return {"video": "cat.mp4", "question": "What?", "options": ["a cat", "a dog", "a cow"], "answer": "B"} | changes


def test_own_questions_are_read_from_a_jsonl_file(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "cat.mp4")
    touch(tmp_path / "cat.srt")
    made = custom(
        tmp_path,
        item(video="videos/cat.mp4", subtitles="cat.srt", duration=130, task_type="animals"),
        item(video="videos/cat.mp4", options=["A. x", "B. y"], answer=0, question_id="q2"),
        item(video="gone.mp4", answer="a cow"),
    )
    first, second = read_benchmark(made).videos
    assert [question.question_id for question in first.questions] == ["1", "q2"]
    assert [question.options for question in first.questions] == [
        ("A. a cat", "B. a dog", "C. a cow"),
        ("A. x", "B. y"),
    ]
    assert [question.answer for question in (*first.questions, *second.questions)] == ["B", "A", "C"]
    assert (first.duration, second.duration) == ("medium", "all")
    assert (first.path, first.subtitle_path) == (tmp_path / "videos" / "cat.mp4", tmp_path / "cat.srt")
    assert second.path is None


def test_another_file_under_the_same_name_has_other_visual_tokens(tmp_path: Path) -> None:
    made, file = custom(tmp_path, item()), touch(tmp_path / "cat.mp4")
    names = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        names.add(read_benchmark(made).videos[0].media_id)
    assert len(names) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1, is not JSON"),
        ("[]", "line 1, is a list"),
        (item(options="a"), "has 'a' as 'options'"),
        (item(answer="D"), "has the answer 'D', which fits none of 'A. a cat', 'B. a dog', 'C. a cow'"),
        (item(answer=3), "has the answer 3, which fits none"),
        (item(options=["one"]), "expected 2 to 10"),
        (item(video="../cat.mp4"), "not a plain relative path"),
        (item(duration=-1), "has -1 as 'duration'"),
        (item(duration=True), "has True as 'duration'"),
        (item(duration=10**400), "as 'duration'"),
        (item(duration=float("nan")), "has nan as 'duration'"),
        (item(duration=" "), "as 'duration'"),
        (item(video="a/" + "b" * 300), "cannot be the name of a file"),
        (item(video="\ud800.mp4"), "cannot be the name of a file"),
        (item(subtitles=3), "has 3 as 'subtitles', expected a text"),
        (item(domain=["a"]), "as 'domain', expected a text"),
        (item(question_id=[1]), "as 'question_id'"),
        (item(question_id=""), "holds an empty question id"),
        (item(options=["a", None]), "has the option None"),
        (item(options=["a", ""]), "has the option ''"),
        (item(options=["a", float("nan")]), "has the option nan"),
        (item(options=["a", {"b": 1}]), "has the option"),
        (item(answer=None), "has None as 'answer'"),
        (item(answer=1.0), "has 1.0 as 'answer'"),
        (item(answer=["B"]), "as 'answer'"),
        ("[" * 100_000, "line 1, is not JSON"),
        ('{"answer": ' + "9" * 5000 + "}", "line 1, is not JSON"),
    ],
)
def test_a_line_that_is_not_a_question_is_refused_in_one_sentence(line: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_benchmark(custom(tmp_path, line))


@pytest.mark.parametrize(
    ("options", "answer", "letter"),
    [
        (["a cat", "a dog"], "a dog", "B"),
        (["a cat", "a dog"], " B. ", "B"),
        (["a cat", "a dog"], "B. a dog", "B"),
        (["a cat", "a dog"], 1, "B"),
        (["a cat", "a dog"], 0, "A"),
        (["A. x", "B. y"], "y", "B"),
        ([10, 20, 30], 20, "B"),
        ([10, 20, 30], "20", "B"),
        ([10.0, 20.0], 20, "B"),
        (["10", "20"], 20, "B"),
        ([0, 1, 2], 1, "B"),
        (["0", "1"], "1", "B"),
        (["1", "2", "3"], "2", "B"),
        ([1, 2, 3], "B", "B"),
        ([1, 2, 3], "B. 2", "B"),
        ([1, 2, 3], 1, "A and B"),
        (["1", "2", "3"], 1, "A and B"),
        ([3, 2, 1, 0], 3, "A and D"),
        (["2.0", "1.0", "3.0"], 2, "A and C"),
        (["A. 2", "B. 1", "C. 3"], 2, "A and C"),
        ([True, False], True, "A"),
        ([True, False], False, "B"),
        (["False", "True"], True, "B"),
        (["false", "true"], "true", "B"),
        (["no", "yes"], True, "none"),
        ([0, 1], True, "none"),
        (["True", "true"], True, "A and B"),
        (["B", "A"], "A", "A and B"),
        (["A", "B"], "A", "A"),
        (["B", "A"], "B. A", "B"),
        (["C", "D"], "C", "A"),
        (["x", "x"], "x", "A and B"),
        (["x", "x"], "B", "B"),
        (["a", "b"], "a", "A"),
        (["x", "y"], "b", "none"),
        (["x", "y"], "1", "none"),
        (["x", "y"], -1, "none"),
        (["x", "y"], 10**300, "none"),
    ],
)
def test_an_answer_is_the_one_option_that_it_fits_or_an_error(
    options: list[Any], answer: Any, letter: str, tmp_path: Path
) -> None:
    made = custom(tmp_path, item(options=options, answer=answer))
    if len(letter) == 1:
        assert read_benchmark(made).videos[0].questions[0].answer == letter
        return
    fits = "fits none" if letter == "none" else f"can mean {letter}"
    with pytest.raises(DataError, match=f"which {fits} of .*: give the option with its letter, such as 'A"):
        read_benchmark(made)


def test_lines_that_contradict_each_other_about_a_video_are_refused(tmp_path: Path) -> None:
    (video,) = read_benchmark(custom(tmp_path, item(duration="short"), item(domain="d"))).videos
    assert (video.duration, video.domain) == ("short", "d")
    with pytest.raises(DataError, match=r"line 2, has 'long' as 'duration', but an earlier line of video cat\.mp4"):
        read_benchmark(custom(tmp_path, item(duration="short"), item(duration="long")))


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8-sig", "\r\n"), ("utf-8", "\r")])
def test_marks_and_line_ends_of_other_systems_are_read(encoding: str, newline: str, tmp_path: Path) -> None:
    made = custom(tmp_path, item(), item(answer="C"))
    path = tmp_path / "questions.jsonl"
    path.write_bytes(path.read_text().replace("\n", newline).encode(encoding))
    assert [question.answer for question in read_benchmark(made).videos[0].questions] == ["B", "C"]
    path.write_text(json.dumps(item()), encoding="utf-16")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_benchmark(made)


def mlvu(folder: Path, **changes: Any) -> BenchmarkConfig:
    question = {
        "video": "m_1.mp4",
        "duration": 1021.5,
        "question": "Who?",
        "candidates": ["he", "she"],
        "answer": "she",
    }
    (folder / "json").mkdir(parents=True, exist_ok=True)
    (folder / "json" / "1_plotQA.json").write_text(json.dumps([question | changes, question | {"question": "Why?"}]))
    open_item = {"video": "v.mp4", "duration": 10, "question": "Describe.", "answer": "A text."}
    (folder / "json" / "9_summary.json").write_text(json.dumps([open_item]))
    return MlvuConfig("mlvu", str(folder))


def test_the_choice_tasks_of_mlvu_are_read_and_its_open_ones_are_not(tmp_path: Path) -> None:
    made, file = mlvu(tmp_path), touch(tmp_path / "video" / "1_plotQA" / "m_1.mp4")
    (video,) = read_benchmark(made).videos
    assert (video.duration, video.domain, video.path) == ("long", "plotQA", file)
    assert [question.question_id for question in video.questions] == ["1_plotQA-0", "1_plotQA-1"]
    assert (video.questions[0].options, video.questions[0].answer) == (("A. he", "B. she"), "B")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" + b"9" * 5000 + b"]", b"\xff\xfe", b""])
def test_a_table_that_no_parser_reads_is_refused(content: bytes, tmp_path: Path) -> None:
    made, table = mlvu(tmp_path), tmp_path / "json" / "1_plotQA.json"
    table.write_text(table.read_text(), encoding="utf-8-sig")
    assert len(read_benchmark(made).videos) == 1
    table.write_bytes(content)
    with pytest.raises(DataError, match=r"1_plotQA\.json should hold JSON, but does not"):
        read_benchmark(made)


def test_an_answer_that_is_not_a_candidate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the answer 'it', expected one of its candidates"):
        read_benchmark(mlvu(tmp_path, answer="it"))


def long_video(folder: Path, **changes: Any) -> BenchmarkConfig:
    question = {"id": "x_0", "video_path": "x.mp4", "question": "What?", "candidates": ["a", "b", "c", "d", "N/A"]}
    question |= {"correct_choice": 3, "duration": 600.0, "duration_group": 600, "topic_category": "KA"}
    question |= {"question_category": "S2E", "subtitle_path": "x_en.json", "starting_timestamp_for_subtitles": 100}
    (folder / "lvb_val.json").write_text(json.dumps([question | changes]))
    return LongVideoBenchConfig("longvideobench", str(folder))


def test_longvideobench_is_read_with_the_subtitles_of_the_cut(tmp_path: Path) -> None:
    file, path = touch(tmp_path / "videos" / "x.mp4"), touch(tmp_path / "subtitles" / "x_en.json")
    cues = [
        {"timestamp": [0.0, 50.0], "text": "before"},
        {"timestamp": [101.0, None], "text": "first"},
        {"start": "00:02:00.500", "end": "00:02:01.000", "line": "second"},
        {"timestamp": [900.0, 901.0], "text": "after"},
    ]
    path.write_text(json.dumps(cues))
    (video,) = read_benchmark(long_video(tmp_path)).videos
    (question,) = video.questions
    assert (video.path, video.duration, video.domain) == (file, "medium", "up to 600 s")
    assert (question.letters, question.answer, question.task_type) == ("ABCD", "D", "S2E")
    found = read_cues(path, video.subtitle_span_s)
    assert transcript_lines(found) == ["first", "second"]
    assert (found[0].start_ms, found[1].start_ms, found[1].end_ms) == (1000, 20_500, 21_000)
    path.write_text('[{"text": "no time"}]')
    with pytest.raises(DataError, match="is not a list of subtitles"):
        read_cues(path)


@pytest.mark.parametrize(
    ("candidates", "right", "answer"),
    [
        (["a", "b", "c", "N/A", "N/A"], 2, "C"),
        (["N/A", "a", "b"], 1, "A"),
        (["a", "N/A", "b"], 2, "B"),
        (["a", "N/A", "b"], 1, None),
        (["a", "b"], 2, None),
        (["a", "b"], -1, None),
        (["a", "b"], True, None),
        (["a", 2], 0, None),
        (["a", None], 0, None),
    ],
)
def test_the_right_choice_is_counted_among_all_candidates(
    candidates: list[Any], right: Any, answer: str | None, tmp_path: Path
) -> None:
    made = long_video(tmp_path, candidates=candidates, correct_choice=right)
    if answer is not None:
        assert read_benchmark(made).videos[0].questions[0].answer == answer
        return
    with pytest.raises(DataError, match="as 'correct_choice'"):
        read_benchmark(made)


@pytest.mark.parametrize("value", [None, "12", "", True, -1, 10**400, float("nan"), [1], "0:10"])
def test_times_that_are_not_seconds_are_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as 'duration', expected seconds"):
        read_benchmark(mlvu(tmp_path, duration=value))
    with pytest.raises(DataError, match="as 'duration', expected seconds"):
        read_benchmark(long_video(tmp_path, duration=value))
    if value:
        with pytest.raises(DataError, match="as 'starting_timestamp_for_subtitles', expected seconds"):
            read_benchmark(long_video(tmp_path, starting_timestamp_for_subtitles=value))


@pytest.mark.parametrize(
    "cue", [{"start": 1, "end": 2, "line": "a"}, {"timestamp": [float("inf"), 1], "text": "a"}, None]
)
def test_subtitles_with_other_times_are_refused(cue: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([cue]))
    with pytest.raises(DataError, match="is not a list of subtitles"):
        read_cues(path)


def test_a_set_without_answers_is_refused(tmp_path: Path) -> None:
    made = long_video(tmp_path)
    items = json.loads((tmp_path / "lvb_val.json").read_text())
    del items[0]["correct_choice"]
    (tmp_path / "lvb_val.json").write_text(json.dumps(items))
    with pytest.raises(DataError, match="only the validation set"):
        read_benchmark(made)


@pytest.mark.parametrize("settings", [MlvuConfig, LongVideoBenchConfig, CustomBenchmarkConfig, VideoMmeConfig])
def test_a_missing_benchmark_names_the_setting_to_change(settings: type[BenchmarkConfig], tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"benchmark\.folder"):
        read_benchmark(settings("x", str(tmp_path / "nothing")))


def test_the_revision_is_the_commit_that_the_download_recorded(tmp_path: Path) -> None:
    cached = tmp_path / "datasets--lmms-lab--Video-MME" / "snapshots" / "abc123"
    cached.mkdir(parents=True)
    benchmark_folder(cached, [table_row("001", 1)])
    assert read_benchmark(config(cached.parents[1])).revision == "abc123"
    local = benchmark_folder(tmp_path / "local", [table_row("001", 1)])
    assert read_benchmark(config(local)).revision == "local"
    record = touch(local / ".cache/huggingface/download/test-00000-of-00001.parquet.metadata")
    record.write_text("def456\netag\n123.0\n")
    assert read_benchmark(config(local)).revision == "def456"


def test_revisions_in_the_cache_of_the_hub_are_told_apart(tmp_path: Path) -> None:
    cached = tmp_path / "datasets--lmms-lab--Video-MME"
    for name, answer in (("abc123", "A"), ("abd456", "B")):
        (cached / "snapshots" / name).mkdir(parents=True)
        benchmark_folder(cached / "snapshots" / name, [table_row("001", 1, answer=answer)])
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abd456")
    for asked in ("local", "ab", "main2"):
        with pytest.raises(ConfigError, match=r"holds the revisions abc123, abd456, and benchmark\.revision is"):
            read_benchmark(config(cached, revision=asked))
    found = {asked: read_benchmark(config(cached, revision=asked)) for asked in ("abc123", "abd", "main")}
    assert [(one.revision, one.videos[0].questions[0].answer) for one in found.values()] == [
        ("abc123", "A"), ("abd456", "B"), ("abd456", "B"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../x.mp4", "/etc/passwd", "a/../../x.mp4", "C:\\x.mp4"])
def test_a_video_of_a_table_stays_inside_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "videos").mkdir(parents=True)
    touch(tmp_path / "x.mp4")
    with pytest.raises(DataError, match="not a plain relative path"):
        read_benchmark(long_video(folder, video_path=name))
    with pytest.raises(DataError, match="not a plain relative path"):
        read_benchmark(long_video(folder, subtitle_path=name))
    with pytest.raises(DataError, match="not a plain relative path"):
        read_benchmark(mlvu(folder, video=name))


def test_five_options_are_read(tmp_path: Path) -> None:
    folder = benchmark_folder(tmp_path, [table_row("001", 1, options=[*OPTIONS, "E. white."], answer="E")])
    (question,) = read_benchmark(config(folder)).videos[0].questions
    assert (question.letters, question.answer) == ("ABCDE", "E")
