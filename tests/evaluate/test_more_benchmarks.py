"""Video-MME-v2, MVBench, TempCompass and LVBench: folders, prompts and frames, with golden data where there is some."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.artefacts.answer_rules.tempcompass import TASKS, YES_NO
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo, Question, labelled, read_benchmark
from sg.evaluate.benchmarks.longvideobench import LongVideoBenchConfig
from sg.evaluate.benchmarks.lvbench import LvbenchConfig
from sg.evaluate.benchmarks.mlvu import MlvuConfig
from sg.evaluate.benchmarks.mvbench import TASKS as MVBENCH_TASKS
from sg.evaluate.benchmarks.mvbench import MvbenchConfig
from sg.evaluate.benchmarks.tempcompass import TempCompassConfig
from sg.evaluate.benchmarks.video_mme_v2 import VideoMmeV2Config
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig
from sg.evaluate.subtitles import SubtitleCue, covering_lines, read_cues, transcript_lines
from sg.video.sampling import Interior, MiddlesBetween, Timeline, interior, middles_between
from tests.evaluate.golden_benchmarks import GOLDENS, choice, golden


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def by_id(benchmark: Benchmark) -> dict[str, tuple[BenchmarkVideo, Question]]:
    return {question.question_id: (video, question) for video in benchmark.videos for question in video.questions}


# ---------------------------------------------------------------------------------------------- Video-MME-v2
def v2_rows(video: str, level: Any = 2, **changes: Any) -> list[dict[str, Any]]:
    options = "\n".join(labelled([f"thing {sign}" for sign in "abcdefgh"]))
    row = {"video_id": video, "url": "", "group_type": "logic", "group_structure": "[1,[2,3],4]", "question": "What?"}
    row |= {"options": options, "answer": "H", "level": level, "second_head": "Order", "third_head": None}
    return [row | {"question_id": f"{video}-{at}"} | changes for at in range(1, 5)]


def v2(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> BenchmarkConfig:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    return VideoMmeV2Config("video_mme_v2", str(folder), **settings)


def test_video_mme_v2_is_read_from_its_table_with_the_files_of_its_archives(tmp_path: Path) -> None:
    made = v2(tmp_path, v2_rows("001"))
    (tmp_path / "videos").mkdir()
    with zipfile.ZipFile(tmp_path / "videos" / "001.zip", "w") as archive:
        archive.writestr("001.mp4", b"video")
    word = {"text": "hello", "start_time": 0.5, "end_time": 0.8}
    with zipfile.ZipFile(tmp_path / "subtitle.zip", "w") as archive:
        archive.writestr("subtitle/001.jsonl", json.dumps(word) + "\n\n" + json.dumps(word | {"text": "you"}))
    (video,) = read_benchmark(made).videos
    assert (video.duration, video.path and video.path.read_bytes()) == ("level_2", b"video")
    assert video.subtitle_path is not None
    assert transcript_lines(read_cues(video.subtitle_path)) == ["hello", "you"]
    question = video.questions[3]
    assert (question.letters, question.task_type) == ("ABCDEFGH", "logic [1, [2, 3], 4]")
    assert (question.question_id, question.domain, question.sub_category) == ("001-4", "Order", "None")
    assert video.frames == Interior(64)
    assert read_benchmark(v2(tmp_path, v2_rows("001"), num_frames=None)).videos[0].frames is None


@pytest.mark.parametrize(("level", "bucket"), [(1, "1"), ("3", "3"), (2.0, "2"), (None, "None"), ("None", "None")])
def test_a_level_of_any_type_is_read(level: Any, bucket: str, tmp_path: Path) -> None:
    assert read_benchmark(v2(tmp_path, v2_rows("001", level))).videos[0].duration == f"level_{bucket}"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (v2_rows("001")[:3], "video 001 has 3 questions, expected a group of 4"),
        (
            v2_rows("001", group_structure="[1, 2]"),
            "is of a group 'logic' '\\[1, 2\\]', expected one of relevance, logic",
        ),
        (v2_rows("001", group_structure="__import__('os')"), "is of a group"),
        (v2_rows("001", group_type="chain"), "is of a group 'chain'"),
        (v2_rows("001", options="A. one"), "expected 2 to 10 beginning A. B. C."),
        (v2_rows("001", answer="I"), "has the answer 'I'"),
        (v2_rows("001", question=None), "wrongly typed cell"),
        ([{key: value for key, value in row.items() if key != "level"} for row in v2_rows("001")], "no column 'level'"),
    ],
)
def test_a_table_of_video_mme_v2_with_other_content_is_refused(rows: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_benchmark(v2(tmp_path, rows))


@pytest.mark.parametrize("case", golden("video_mme_v2/prompts.json"), ids=lambda case: case["question"][-8:])
def test_the_golden_prompts_of_video_mme_v2_are_built(case: Any, tmp_path: Path) -> None:
    question = Question("1", "", case["question"], tuple(case["options"].split("\n")), "A")
    lines = []
    if case["subtitle_jsonl"] is not None:
        path = tmp_path / "001.jsonl"
        path.write_text(case["subtitle_jsonl"])
        lines = transcript_lines(read_cues(path))
    for variant, name, shown in (
        ("plain", "official", None),
        ("reasoning", "reasoning", None),
        ("subs", "official", lines),
    ):
        texts = [part for part in case["variants"][variant] if part != "<image>"]
        wording = VideoMmeV2Config.wordings[name]
        # A model with one text behind its frames gets the authors' parts on lines of their own.
        assert wording.prompt(question, shown).text == "\n".join(part.removesuffix("\n") for part in texts)


@pytest.mark.parametrize("case", golden("video_mme_v2/frame_indices.json"))
def test_the_golden_frames_of_video_mme_v2_are_chosen(case: Any) -> None:
    found = interior(case["nframe"], case["n_frames"], case["video_fps"], max(case["fps"], 0))
    assert found == case["indices"]
    if case["fps"] <= 0:
        assert Interior(case["nframe"])(Timeline(case["n_frames"], case["video_fps"])) == case["indices"]


# --------------------------------------------------------------------------------------------------- MVBench
def mvbench(folder: Path, items: dict[str, list[dict[str, Any]]], **settings: Any) -> BenchmarkConfig:
    (folder / "json").mkdir(parents=True, exist_ok=True)
    for task, members in items.items():
        (folder / "json" / f"{task}.json").write_text(json.dumps(members))
    return MvbenchConfig("mvbench", str(folder), **settings)


def mv_item(**changes: Any) -> dict[str, Any]:
    return {"video": "a.mp4", "question": "What?", "candidates": ["x", "y", "x"], "answer": "x"} | changes


def test_mvbench_is_read_in_the_official_order_with_the_bounds_of_its_questions(tmp_path: Path) -> None:
    star = touch(tmp_path / "video" / "star" / "Charades_v1_480" / "a.mp4")
    picture = touch(tmp_path / "video" / "tvqa" / "frames_fps3_hq" / "show" / "00001.jpg")
    made = mvbench(
        tmp_path,
        {
            "episodic_reasoning": [mv_item(video="show", start=0, end=4.5)],
            "action_sequence": [mv_item(start=1.5, end=3.0), mv_item(start=1.5, end=3.0), mv_item(start=2, end=3.0)],
            "state_change": [mv_item(video="sub/b.mp4")],
        },
        num_frames=8,
    )
    found = by_id(read_benchmark(made))
    assert list(found) == [
        *("action_sequence-0", "action_sequence-1", "action_sequence-2", "state_change-0", "episodic_reasoning-0"),
    ]
    video, question = found["action_sequence-0"]
    assert (video.path, video.media_id, video.frames) == (star, "star-a-1.5-3", MiddlesBetween(8, 1.5, 3.0))
    assert (question.answer, question.task_type) == ("C", "Action Sequence")  # the last of equal candidates
    assert found["action_sequence-1"][0] is video
    assert found["action_sequence-2"][0] is not video
    assert found["state_change-0"][0].path is None
    assert found["episodic_reasoning-0"][0].path == picture.parent
    assert found["episodic_reasoning-0"][0].frames == MiddlesBetween(8, 0, 4.5, first=1)


def test_the_branch_of_clips_that_are_cut_already_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "star" / "a.mp4")
    made = mvbench(tmp_path, {})
    table = {"root": {"Action Sequence": "star"}, "meta": {"Action Sequence": [mv_item()]}}
    (tmp_path / "test.json").write_text(json.dumps(table))
    (video,) = read_benchmark(made).videos
    assert (video.path, video.media_id) == (tmp_path / "star" / "a.mp4", "star-a")
    (tmp_path / "test.json").write_text("[]")
    with pytest.raises(DataError, match="expected 'root' and 'meta'"):
        read_benchmark(made)


def test_the_golden_data_set_of_mvbench_is_read_whole(tmp_path: Path) -> None:
    tables = golden("mvbench/dataset.json")
    made = mvbench(tmp_path, {table["file"].removesuffix(".json"): table["items"] for table in tables.values()})
    benchmark = read_benchmark(made)
    assert list(dict.fromkeys(question.task_type for _, question in by_id(benchmark).values())) == list(MVBENCH_TASKS)
    assert list(tables) == list(MVBENCH_TASKS)
    assert benchmark.num_questions == 1000


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (mv_item(answer="z"), "has the answer 'z', expected one of its candidates"),
        (mv_item(candidates="x"), "has 'x' as 'candidates': expected a list"),
        (mv_item(candidates=["x"]), "expected 2 to 10"),
        (mv_item(video="../a.mp4"), "not a plain relative path"),
        (mv_item(start="1", end=2), "has '1' as 'start': expected an integer or a number"),
        ([], "is a list, expected an object"),
    ],
)
def test_an_item_of_mvbench_with_other_content_is_refused(item: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_benchmark(mvbench(tmp_path, {"action_count": [item]}))


@pytest.mark.parametrize("case", golden("mvbench/prompts.json"))
def test_the_golden_prompts_of_mvbench_are_built(case: Any) -> None:
    prompt = MvbenchConfig.wordings["official"].prompt(choice(case["candidates"], "A", text=case["question"]))
    _, _, around = case["official_prompt"].partition("###Human: <Video><VideoHere></Video>\n###Human: ")
    assert f"{prompt.text}\n###Assistant: {prompt.reply}" == around
    assert case["question_text"] in prompt.text


@pytest.mark.parametrize("case", golden("mvbench/frame_indices.json"))
def test_the_golden_frames_of_mvbench_are_chosen(case: Any) -> None:
    start, end = case["bound"] or (None, None)
    first = 0 if case["data_type"] == "video" else 1
    found = middles_between(case["num_segments"], case["n_frames"], case["fps"], start, end, first)
    assert found == case["indices"]
    shown = MiddlesBetween(case["num_segments"], start, end, first)(Timeline(case["n_frames"], case["fps"]))
    assert shown == sorted(min(max(index - first, 0), case["n_frames"] - 1) for index in case["indices"])


# ----------------------------------------------------------------------------------------------- TempCompass
def tempcompass(folder: Path, **settings: Any) -> BenchmarkConfig:
    (folder / "questions").mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        table = golden(f"tempcompass/predictions.{task}.json")
        (folder / "questions" / f"{task}.json").write_text(json.dumps(table))
    (folder / "meta_info.json").write_text(json.dumps(golden("tempcompass/meta_info.json")))
    return TempCompassConfig("tempcompass", str(folder), **settings)


def test_tempcompass_is_read_with_all_of_its_tasks(tmp_path: Path) -> None:
    first = next(iter(golden("tempcompass/meta_info.json")))
    with zipfile.ZipFile(tmp_path / "tempcompass_videos.zip", "w") as archive:
        archive.writestr(f"videos/{first}.mp4", b"video")
    made = tempcompass(tmp_path)
    found = by_id(read_benchmark(made))
    assert found[f"yes_no-{first}-action-0"][0].path == tmp_path / "videos" / f"{first}.mp4"
    assert {question.domain for _, question in found.values()} == set(TASKS)
    _, question = found[f"multi-choice-{first}-action-0"]
    assert (question.task_type, question.sub_category, question.text) == (
        "action", "fine-grained action", "What happens in the synthetic clip?",
    )  # fmt: skip
    prompt = made.prompt.prompt(question).text
    assert prompt == "What happens in the synthetic clip?\nA. jumping\nB. faster\nC. upwards\n" + (
        "Please directly give the best option:"
    )
    _, question = found[f"yes_no-{first}-action-0"]
    assert made.prompt.prompt(question).text == f"{question.text}\nPlease answer yes or no:"
    _, question = found[f"caption_matching-{first}-action-0"]
    stored = golden("tempcompass/predictions.caption_matching.json")[first]["action"][0]
    assert made.prompt.prompt(question).text == f"{stored['question']}\nPlease directly give the best option:"
    assert question.option_texts[question.letters.index(question.answer)] == stored["answer"]
    only = read_benchmark(tempcompass(tmp_path, tasks=[YES_NO]))
    assert {question.domain for _, question in by_id(only).values()} == {YES_NO}


def test_the_tables_of_the_hub_are_read_too(tmp_path: Path) -> None:
    rows = [{"video_id": "7", "question": "Which?\nA. x\nB. y", "answer": "B. y", "dim": "order"}]
    for task in TASKS:
        (tmp_path / task).mkdir()
        other = {"yes_no": ("Is it?", "no"), "caption_matching": ("Q\nOption 1: x\nOption 2: y", "Option 2: y")}
        question, answer = other.get(task, (rows[0]["question"], rows[0]["answer"]))
        made = [rows[0] | {"question": question, "answer": answer}]
        pq.write_table(pa.Table.from_pylist(made), tmp_path / task / "test-00000-of-00001.parquet")
    found = by_id(read_benchmark(TempCompassConfig("tempcompass", str(tmp_path))))
    assert [question.answer for _, question in found.values()] == ["B", "B", "B"]
    assert {question.sub_category for _, question in found.values()} == {"order"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "is not a list of questions"),
        ({"1": []}, "is not a list of questions"),
        ({"1": {"action": {}}}, "is not a list of questions"),
        ({"1": {"action": [{"question": "Is it?", "answer": "maybe"}]}}, "which is none of its options"),
        ({"1": {"action": [{"question": "Is it?"}]}}, "has None as 'answer': expected a text"),
    ],
)
def test_a_table_of_tempcompass_with_other_content_is_refused(table: Any, message: str, tmp_path: Path) -> None:
    made = tempcompass(tmp_path, tasks=[YES_NO])
    (tmp_path / "questions" / "yes_no.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=message):
        read_benchmark(made)


# --------------------------------------------------------------------------------------------------- LVBench
def test_the_golden_table_of_lvbench_is_read_and_videos_are_found_by_key_or_address(tmp_path: Path) -> None:
    table = GOLDENS / "lvbench" / "video_info.meta.jsonl"
    (tmp_path / "video_info.meta.jsonl").write_text(table.read_text())
    keys = [json.loads(line)["key"] for line in table.read_text().splitlines()]
    first = touch(tmp_path / "videos" / f"{keys[0]}.mp4")
    second = touch(tmp_path / "videos" / "00000" / "00000001.mp4")
    record = {"url": f"https://www.youtube.com/watch?v={keys[1]}&t=1", "status": "success"}
    second.with_suffix(".json").write_text(json.dumps(record))
    benchmark = read_benchmark(LvbenchConfig("lvbench", str(tmp_path)))
    assert [video.path for video in benchmark.videos[:3]] == [first, second, None]
    assert benchmark.num_questions == 441
    question = benchmark.videos[0].questions[0]
    wording = LvbenchConfig.wordings["official"]
    stored = json.loads(table.read_text().splitlines()[0])["qa"][0]["question"]
    assert wording.prompt(question).text == f"{stored}\nAnswer the question with the option letter"


def test_a_question_of_lvbench_whose_options_are_not_lines_is_asked_as_it_is_stored(tmp_path: Path) -> None:
    info = {"key": "k", "type": "tv", "video_info": {"duration_minutes": 60}}
    item = {"uid": 7, "question": "Which? (A) x (B) y", "answer": "B", "question_type": []}
    path = tmp_path / "video_info.meta.jsonl"
    path.write_text(json.dumps(info | {"qa": [item]}) + "\n")
    (question,) = read_benchmark(LvbenchConfig("lvbench", str(tmp_path))).videos[0].questions
    assert (question.question_id, question.letters, question.answer) == ("7", "ABCD", "B")
    assert LvbenchConfig.wordings["official"].prompt(question).text.startswith("Which? (A) x (B) y\nAnswer the")
    for line, message in (
        ("{", "line 1, is not JSON"),
        ("[]", "line 1, is a list"),
        (json.dumps(info), "has None as 'qa': expected a list"),
        (json.dumps(info | {"qa": [item | {"answer": "E"}]}), "has the answer 'E'"),
        (json.dumps(info | {"qa": [item | {"question_type": "x"}]}), "as 'question_type': expected a list"),
        (json.dumps(info | {"video_info": {}, "qa": [item]}), "has None as 'duration_minutes'"),
    ):
        path.write_text(line)
        with pytest.raises(DataError, match=message):
            read_benchmark(LvbenchConfig("lvbench", str(tmp_path)))


# -------------------------------------------------------------------------------------------------- wordings
def test_mlvu_and_longvideobench_are_worded_as_officially_or_as_before() -> None:
    question = choice(["red", "blue"], "A", text="Which colour?")
    prompt = MlvuConfig.wordings["official"].prompt(question)
    assert prompt.reply == "Best option:("
    assert prompt.text.endswith(
        "accurately addresses the question.\nQuestion: Which colour?\nOptions:\n(A) red\n(B) blue\n"
        "Only give the best option."
    )
    prompt = LongVideoBenchConfig.wordings["official"].prompt(question, ["hello", "you"])
    assert prompt.text == (
        "hello\nyou\nQuestion: Which colour?\nA. red\nB. blue\n"
        "Answer with the option's letter from the given choices directly."
    )
    before = MlvuConfig("mlvu", "f", prompt="video_mme")
    assert (before.rule_name, before.prompt) == ("video_mme", BenchmarkConfig("b", "f").prompt)
    assert MlvuConfig("mlvu", "f").rule_name == "mlvu"


def test_subtitles_with_a_frame_inside_them_are_shown_once() -> None:
    cues = [SubtitleCue(*times, text) for *times, text in ((0, 1000, "a"), (900, 2500, "b"), (3000, 9000, "c"))]
    assert covering_lines(cues, [0, 1, 2, 4], 1.0) == ["b", "c"]
    assert covering_lines([SubtitleCue(1300, 1500, "short")], [1], 1.0) == ["short"]  # widened to 0.9 .. 1.9 s
    assert covering_lines([SubtitleCue(1000, 1900, "edge")], [0, 1], 1.0) == ["edge"]
    assert covering_lines([SubtitleCue(1000, 2000, "edge")], [0, 1, 2], 1.0) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MvbenchConfig("m", "f", answering=AnsweringConfig()),
            "stop_at_first_letter=true would change the scores of m",
        ),
        (
            lambda: MvbenchConfig("m", "f", prompt="best"),
            "benchmark.prompt='best' should be one of official, video_mme",
        ),
        (lambda: MvbenchConfig("m", "f", prompt={"words": "x"}), "benchmark.prompt='words' should be one of"),
        (lambda: MvbenchConfig("m", "f", num_frames=0), "benchmark.num_frames=0 should be 1 or more"),
        (lambda: VideoMmeV2Config("v", "f", num_frames=0), "benchmark.num_frames=0 should be 1 or more, or null"),
        (lambda: TempCompassConfig("t", "f", tasks=["x"]), "benchmark.tasks='x' should be one of"),
    ],
)
def test_a_wrong_setting_is_named(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("settings", [VideoMmeV2Config, MvbenchConfig, TempCompassConfig, LvbenchConfig])
def test_a_missing_benchmark_names_the_setting_to_change(settings: type[BenchmarkConfig], tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"benchmark\.folder"):
        read_benchmark(settings("x", str(tmp_path / "nothing")))
