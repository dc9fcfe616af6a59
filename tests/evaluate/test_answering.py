import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sg.artefacts.answers import read_letter
from sg.artefacts.predictions import (
    MISSING_VIDEO,
    SWAPPED_VIDEO,
    TOO_LONG,
    UNDECODABLE,
    WITH_SUBTITLES,
    WITHOUT_SUBTITLES,
    ZEROED_VIDEO,
    Prediction,
    read_predictions,
)
from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.core.content import FileState
from sg.core.identity import differences, identity
from sg.evaluate.answering import answers_identity, batches, evaluate, letter_ids
from sg.evaluate.asking import Asker, swap_partners
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.run import evaluate_model
from sg.evaluate.subtitles import lines_at_frames, read_srt
from tests.evaluate.evaluation_builder import World, world


def ask_all(made: World, path: Path, config: BenchmarkConfig | None = None, **more: Any) -> list[Prediction]:
    evaluate(made.student, made.processor, made.benchmark, made.tokens, config or made.config, path, "m1", **more)
    return read_predictions(path)


def with_answering(config: BenchmarkConfig, **changes: Any) -> BenchmarkConfig:
    return replace(config, answering=replace(config.answering, **changes))


def naive_response(made: World, row: Prediction) -> str:
    """The answer to one question from the model's `generate`, with a separately built prompt."""
    video = next(video for video in made.benchmark.videos if video.video_id == row.video_id)
    question = next(question for question in video.questions if question.question_id == row.question_id)
    lines = None
    if row.setting == WITH_SUBTITLES:
        lines = lines_at_frames(read_srt(video.subtitle_path), row.frames, 1.0) if video.subtitle_path else []
    clip = made.tokens[row.tokens_of]
    tokens = clip.tensors["tokens"] * (row.setting != ZEROED_VIDEO)
    prompt = made.config.prompt.prompt(question, lines).text
    ids = torch.tensor([made.encoder.encode_prompt(prompt, len(clip.facts.frame_indices))])
    limit = made.config.answering.max_new_tokens
    new = made.model.generate(ids, visual_tokens=tokens, visual_counts=[len(tokens)], max_new_tokens=limit)
    return made.encoder.decode(new[0].tolist())


def test_shared_batched_answers_equal_one_by_one_generation(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    rows = ask_all(made, tmp_path / "predictions.jsonl")
    assert len(rows) == 6 * 3 * 4
    assert {row.status for row in rows} == {"ok"}
    assert len({row.response for row in rows}) > len(rows) / 2  # the model does not always say the same
    assert [row.response for row in rows] == [naive_response(made, row) for row in rows]
    assert [row.letter for row in rows] == [read_letter(row.response) for row in rows]


@pytest.mark.parametrize("batch_size", [1, 5, 12, 1000])
def test_answers_do_not_depend_on_the_batch_size(batch_size: int, tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    rows = {row.key: row for row in ask_all(made, tmp_path / "a.jsonl")}
    config = with_answering(made.config, batch_size=batch_size)
    others = {row.key: row for row in ask_all(made, tmp_path / "b.jsonl", config)}
    assert rows.keys() == others.keys()
    assert all(rows[key].response == others[key].response for key in rows)
    # Float32 sums in another order changed logits of size 10 by at most 2e-5 when measured.
    for key, row in rows.items():
        assert row.letter_logits == pytest.approx(others[key].letter_logits, abs=1e-3)


def test_a_row_records_what_the_model_saw(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    rows = {row.key: row for row in ask_all(made, tmp_path / "predictions.jsonl")}
    row = rows["001-2", WITH_SUBTITLES]
    assert (row.tokens_of, row.frames, row.fps) == ("yt001", tuple(range(16)), 1.0)
    assert (row.subtitles, row.subtitle_lines, row.subtitle_lines_cut) == ("ok", 10, 0)
    assert row.subtitle_hash
    assert row.num_new_tokens <= 4
    assert len(row.letter_logits) == 4
    without = rows["001-2", WITHOUT_SUBTITLES]
    assert (without.subtitles, without.subtitle_lines, without.subtitle_hash) == ("", 0, "")
    assert without.prompt_hash != row.prompt_hash
    assert without.prompt_hash == rows["001-2", ZEROED_VIDEO].prompt_hash
    swapped = rows["001-2", SWAPPED_VIDEO]
    assert swapped.tokens_of == "yt004"
    assert (without.domain, without.task_type, without.made_by) == ("Knowledge", "OCR Problems", "m1")


def test_a_video_without_a_subtitle_file_is_asked_without_subtitles_and_counted(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    made.benchmark.videos[0].subtitle_path.write_bytes(b"\xff\xfe broken")
    rows = {row.key: row for row in ask_all(made, tmp_path / "predictions.jsonl")}
    assert rows["003-1", WITH_SUBTITLES].subtitles == "missing"
    assert rows["000-1", WITH_SUBTITLES].subtitles == "unreadable"
    for question in ("003-1", "000-1"):
        assert rows[question, WITH_SUBTITLES].response == rows[question, WITHOUT_SUBTITLES].response


def test_the_transcript_can_be_shown_instead_of_the_lines_at_frames(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, settings=[WITH_SUBTITLES], probes=[])
    rows = ask_all(made, tmp_path / "predictions.jsonl", replace(made.config, subtitles="transcript"))
    assert {row.video_id: row.subtitle_lines for row in rows} == {"000": 3, "001": 5, "002": 11}


def test_subtitles_are_cut_but_the_question_is_not(tmp_path: Path) -> None:
    whole = world(tmp_path / "a", videos=3, settings=[WITH_SUBTITLES], probes=[])
    lengths = {row.question_id: row.num_prompt_tokens for row in ask_all(whole, tmp_path / "a.jsonl")}
    limit = lengths["002-1"] + whole.config.answering.max_new_tokens
    tight = world(tmp_path / "b", videos=3, max_positions=limit - 1, settings=[WITH_SUBTITLES], probes=[])
    rows = {row.question_id: row for row in ask_all(tight, tmp_path / "b.jsonl")}
    assert rows["002-1"].status == "ok"
    assert rows["002-1"].subtitle_lines_cut == 1
    assert rows["002-1"].num_prompt_tokens < lengths["002-1"]
    assert rows["000-1"].subtitle_lines_cut == 0


def test_a_question_that_does_not_fit_is_a_row_with_a_reason(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, max_positions=150)
    rows = ask_all(made, tmp_path / "predictions.jsonl")
    too_long = [row for row in rows if row.status == TOO_LONG]
    assert {row.video_id for row in too_long} >= {"002"}
    assert all(row.letter == "" and "the model has 146 for a prompt" in row.reason for row in too_long)


def test_missing_and_undecodable_videos_are_rows_with_a_reason_and_tried_again(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    tokens = dict(made.tokens)
    gone, broken = tokens.pop("yt000"), tokens.pop("yt001")
    (tmp_path / "benchmark" / "videos" / "yt000.mp4").unlink()
    from sg.evaluate.benchmark import read_benchmark

    cut = replace(made, benchmark=read_benchmark(made.config), tokens=tokens)
    path = tmp_path / "predictions.jsonl"
    rows = ask_all(cut, path, failures={"yt001": "no video stream"})
    assert {(row.status, row.reason) for row in rows if row.video_id == "000"} == {
        (MISSING_VIDEO, "there is no file of video yt000")
    }
    assert {(row.status, row.reason) for row in rows if row.video_id == "001"} == {(UNDECODABLE, "no video stream")}
    assert {row.status for row in rows if row.video_id in ("002", "005")} == {"ok"}
    before = path.read_text()
    ask_all(cut, path, failures={"yt001": "no video stream"})
    assert path.read_text() == before
    healed = replace(cut, tokens=tokens | {"yt000": gone, "yt001": broken})
    assert {row.status for row in ask_all(healed, path) if row.setting != SWAPPED_VIDEO} == {"ok"}


def test_a_video_alone_in_its_bucket_cannot_be_swapped(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, settings=[], probes=[SWAPPED_VIDEO])
    rows = ask_all(made, tmp_path / "predictions.jsonl")
    assert {row.reason for row in rows if row.duration == "long"} == {
        "no other video of duration long has visual tokens"
    }


def test_a_swapped_video_is_another_one_of_the_same_duration(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=30)
    partners = swap_partners(made.benchmark.videos, made.tokens, seed=0)
    duration = {video.media_id: video.duration for video in made.benchmark.videos}
    assert len(partners) == len(set(partners.values())) == 30
    assert all(name != other and duration[name] == duration[other] for name, other in partners.items())
    assert partners == swap_partners(reversed(made.benchmark.videos), made.tokens, seed=0)
    assert partners != swap_partners(made.benchmark.videos, made.tokens, seed=1)


def test_a_first_token_that_is_a_letter_can_end_the_answer(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, settings=[WITHOUT_SUBTITLES], probes=[])
    letters = letter_ids(made.processor)
    assert all(letters[letter] for letter in "ABCD")
    with torch.no_grad():  # lets the head prefer letters by far
        made.model.lm_head.weight[[ids[0] for ids in letters.values()]] *= 30
    full = {row.key: row for row in ask_all(made, tmp_path / "full.jsonl")}
    config = with_answering(made.config, stop_at_first_letter=True)
    short = {row.key: row for row in ask_all(made, tmp_path / "short.jsonl", config)}
    stopped = [key for key, row in short.items() if row.response in tuple("ABCD")]
    assert stopped
    assert all(short[key].num_new_tokens == 1 and short[key].letter == full[key].letter for key in stopped)
    assert all(short[key].response == full[key].response for key in short.keys() - set(stopped))


def test_a_resumed_evaluation_writes_the_file_of_an_uninterrupted_one(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", batch_size=12)
    undisturbed, path = tmp_path / "undisturbed.jsonl", tmp_path / "predictions.jsonl"
    ask_all(made, undisturbed)
    whole = undisturbed.read_bytes()
    for kept in (1, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:kept])
        ask_all(made, path)
        assert path.read_bytes() == whole


def test_a_killed_and_resumed_evaluation_writes_the_file_of_an_uninterrupted_one(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", batch_size=12)
    undisturbed, path = tmp_path / "undisturbed.jsonl", tmp_path / "predictions.jsonl"
    ask_all(made, undisturbed)
    program = (
        "import os, pathlib, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import torch; torch.set_num_threads(1)\n"
        "from tests.evaluate.evaluation_builder import World, benchmark_config\n"
        "from tests.evaluate.evaluation_builder import ChatUniViStudent, tiny_encoder, tiny_model, tiny_processor\n"
        "from tests.evaluate.evaluation_builder import visual_tokens\n"
        "from sg.artefacts.predictions import PredictionWriter\n"
        "from sg.evaluate.answering import evaluate\n"
        "from sg.evaluate.benchmark import read_benchmark\n"
        "write, calls = PredictionWriter.write, []\n"
        "def write_then_die(self, rows):\n"
        "    write(self, rows)\n"
        "    calls.append(1)\n"
        "    if len(calls) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "PredictionWriter.write = write_then_die\n"
        f"config = benchmark_config(pathlib.Path({str(tmp_path / 'benchmark')!r}), batch_size=12)\n"
        "benchmark = read_benchmark(config)\n"
        "tokens = visual_tokens(benchmark)\n"
        "student, processor = ChatUniViStudent(tiny_model()), tiny_processor(tiny_encoder())\n"
        f"evaluate(student, processor, benchmark, tokens, config, pathlib.Path({str(path)!r}), 'm1')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    killed = path.read_bytes()
    assert 0 < len(killed) < len(undisturbed.read_bytes())
    ask_all(made, path)
    assert path.read_bytes().startswith(killed)
    assert path.read_bytes() == undisturbed.read_bytes()


def test_a_finished_evaluation_runs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(tmp_path / "benchmark", videos=3)
    path = tmp_path / "predictions.jsonl"
    rows = ask_all(made, path)
    monkeypatch.setattr(made.model, "forward", None)
    assert ask_all(made, path) == rows


def test_probes_that_are_added_later_do_not_change_the_other_answers(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", probes=[])
    path = tmp_path / "predictions.jsonl"
    before = ask_all(made, path)
    after = ask_all(made, path, with_answering(made.config, probes=[ZEROED_VIDEO]))
    assert after[: len(before)] == before
    assert len(after) == len(before) * 3 // 2


def test_every_setting_of_a_benchmark_counts_for_the_answers_unless_its_field_is_marked(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3)
    name = answers_identity(made.benchmark, made.config, "model 1").name
    marked = {"folder", "table", "unpack_to", "settings", "probes", "batch_size", "check_in_full"}
    others = {"subtitles": "transcript", "answer_reader": "official_2024_06_18"}
    others |= {"empty_subtitles": "header", "sampling": "reference", "settings": [], "probes": []}
    for part in ("", "prompt", "answering"):
        settings = getattr(made.config, part) if part else made.config
        for field in fields(settings):
            old = getattr(settings, field.name)
            if is_dataclass(old):
                continue
            new = not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}x"
            changed = replace(settings, **{field.name: others.get(field.name, new)})
            config = replace(made.config, **{part: changed}) if part else changed
            same = answers_identity(made.benchmark, config, "model 1").name == name
            assert same == (field.name in marked), field.name


def test_answers_have_another_identity_for_another_model_video_or_subtitle_file(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=4)
    before = answers_identity(made.benchmark, made.config, "model 1")
    assert answers_identity(made.benchmark, made.config, "model 2") != before
    (tmp_path / "benchmark").rename(tmp_path / "moved")
    config = replace(made.config, folder=str(tmp_path / "moved"))
    assert answers_identity(read_benchmark(config), config, "model 1") == before
    (tmp_path / "moved" / "subtitle" / "yt003.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nlate\n")
    supplied = answers_identity(read_benchmark(config), config, "model 1")
    assert [change.key for change in differences(before, supplied)] == ["inputs.subtitles"]
    (tmp_path / "moved" / "videos" / "yt001.mp4").write_bytes(b"another video")
    replaced = answers_identity(read_benchmark(config), config, "model 1")
    assert [change.key for change in differences(supplied, replaced)] == ["inputs.videos"]


def test_a_video_stays_in_one_batch_unless_it_is_too_large_for_it(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark")
    asks = Asker(made.benchmark, made.config, made.processor, made.tokens, 1024).asks()
    for batch in batches(asks, 30):
        assert len(batch) == 24
        assert len({ask.row.video_id for ask in batch}) == 2
    sizes = [len(batch) for batch in batches(asks, 5)]
    assert (sum(sizes), max(sizes)) == (len(asks), 5)


def test_one_call_gives_scores_and_official_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = world(tmp_path / "benchmark", videos=3)
    caplog.set_level("INFO")
    path = tmp_path / "run" / "predictions.jsonl"
    scores = evaluate_model(made.student, made.processor, made.benchmark, made.tokens, made.config, path, "m1")
    assert list(scores) == [WITHOUT_SUBTITLES, WITH_SUBTITLES, ZEROED_VIDEO, SWAPPED_VIDEO]
    assert set(scores[WITHOUT_SUBTITLES]) == {"overall", "short", "medium", "long"}
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == [
        *("official_with_subtitles.json", "official_with_subtitles.txt"),
        *("official_without_subtitles.json", "official_without_subtitles.txt", "predictions.jsonl"),
        *(f"reliability_{setting}.txt" for setting in (WITH_SUBTITLES, WITHOUT_SUBTITLES, ZEROED_VIDEO)),
    ]
    assert "with_subtitles: " in caplog.text
    assert "9 missing_video" in caplog.text


def test_tokens_are_read_from_a_store_on_disk(tmp_path: Path) -> None:
    from sg.artefacts.visual_tokens.store import VisualTokenStore

    made = world(tmp_path / "benchmark")
    store = VisualTokenStore.create(
        tmp_path / "store", identity("tokens", settings={}, version=1), {"tokens": 16}, "float32"
    )
    with store.writer() as writer:
        for clip in made.tokens.values():
            writer.add(clip, FileState("", ""))
    stored = replace(made, tokens=store)  # type: ignore[arg-type]
    assert ask_all(stored, tmp_path / "a.jsonl") == ask_all(made, tmp_path / "b.jsonl")
    assert isinstance(made.tokens["yt000"], ClipTensors)
