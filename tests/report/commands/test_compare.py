import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.predictions import Prediction, PredictionWriter, read_predictions
from sg.core.errors import DataError, MissingInputError
from sg.report.commands.compare import compare_text
from sg.report.commands.published import published_deltas, published_text
from sg.report.numbers.published import read_published
from sg.report.numbers.statistics import benjamini_hochberg, holm
from sg.report.wording import p_text

ROOT = Path(__file__).parents[3]
GOLDEN: dict[str, Any] = json.loads((ROOT / "tests/goldens/video_mme/statistics.json").read_text())
PAIR = next(item for item in GOLDEN["sets"] if item["name"] == "plus2")


def answers(right: str, setting: str = "without_subtitles") -> list[Prediction]:
    """Rows of 900 videos with three questions each; "-" is a question without an answer."""
    rows = []
    for at, mark in enumerate(right):
        letter = {"1": "A", "0": "B", "-": ""}[mark]
        duration = ("short", "medium", "long")[at // 3 % 3]
        rows.append(Prediction(f"q{at}", setting, f"v{at // 3}", duration, "A", response=letter, letter=letter))
    return rows


def write(path: Path, *groups: list[Prediction]) -> Path:
    with PredictionWriter(path, "") as writer:
        for rows in groups:
            writer.write(rows)
    return path


def official(path: Path, rows: list[Prediction]) -> Path:
    videos: dict[str, dict[str, Any]] = {}
    for row in rows:
        video = {"video_id": row.video_id, "duration": row.duration, "domain": "", "sub_category": "", "questions": []}
        question = {"question_id": row.question_id, "task_type": "", "question": "?", "options": ["A.", "B."]}
        videos.setdefault(row.video_id, video)["questions"].append(question | {"answer": "A", "response": row.response})
    path.write_text(json.dumps(list(videos.values())))
    return path


def test_two_files_have_the_golden_difference_counts_and_tests(tmp_path: Path) -> None:
    base, new = write(tmp_path / "a.jsonl", answers(PAIR["A"])), write(tmp_path / "b.jsonl", answers(PAIR["B"]))
    text, expected = compare_text([base, new]), PAIR["expected"]["paired"]
    low, high = (100 * value for value in expected["cluster_ci95"])
    assert f"difference: {100 * expected['difference']:+.1f} [{low:+.1f}, {high:+.1f}] points" in text
    assert f"only b.jsonl right: {expected['only_B']} questions, only a.jsonl right: {expected['only_A']};" in text
    assert f"McNemar exact {p_text(expected['mcnemar_exact_p'])}" in text
    assert "(BCa bootstrap over videos)" in text and "short videos (exploratory)" in text
    assert "2,700 questions, 900 videos" in text


def test_our_file_and_an_official_one_of_the_same_answers_compare_equally(tmp_path: Path) -> None:
    base = write(tmp_path / "a.jsonl", answers(PAIR["A"]))
    ours, theirs = write(tmp_path / "b.jsonl", answers(PAIR["B"])), official(tmp_path / "b.json", answers(PAIR["B"]))
    text, made = compare_text([base, theirs]).split("\n\nhow they were made")
    assert compare_text([base, ours]) == text.replace("b.json ", "b.jsonl ").replace("b.json:", "b.jsonl:") + "\n"
    assert "engine sg | official script" in made


def test_comparisons_of_both_settings_are_corrected_together_and_three_files_tested_jointly(tmp_path: Path) -> None:
    marks = [PAIR["A"][:300], PAIR["B"][:300], PAIR["A"][300:600]]
    files = [
        write(tmp_path / f"{at}.jsonl", answers(mark), answers(mark[::-1], "with_subtitles"), answers(mark, "no_video"))
        for at, mark in enumerate(marks)
    ]
    text = compare_text(files)
    assert text.count("test that all are equally accurate: ") == 3
    family = text[text.index("p corrected for all 4") :].strip().split("\n")[1:]
    assert len(family) == 4
    assert not any("no video" in line for line in family)


def test_questions_of_one_file_only_and_unanswered_questions_are_left_out(tmp_path: Path) -> None:
    base = write(tmp_path / "a.jsonl", answers("10" * 30))
    new = write(tmp_path / "b.jsonl", answers("1-" * 15))
    text = compare_text([base, new])
    assert "(30 questions, 10 videos)" in text
    assert "b.jsonl: 100.0 [no interval] % of 15 answered questions" in text
    assert "50.0 % of all 30" in text
    left_out = ", ".join(f"q{number}" for number in range(30, 40))
    assert f"left out, because b.jsonl lacks them: 30 of 60 questions ({left_out}, ...)" in text
    assert "a.jsonl lacks" not in text
    both = compare_text(
        [write(tmp_path / "c.jsonl", answers("10" * 3)[1:]), write(tmp_path / "d.jsonl", answers("10"))]
    )
    assert "left out, because c.jsonl lacks them: 1 of 6 questions (q0)" in both
    assert "left out, because d.jsonl lacks them: 4 of 6 questions (q2, q3, q4, q5)" in both


def test_settings_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    base = write(tmp_path / "a.jsonl", answers("10" * 3), answers("10" * 3, "with_subtitles"), answers("1", "mine"))
    new = write(tmp_path / "b.jsonl", answers("10" * 3), answers("10" * 3, "no_video"), answers("1", "mine"))
    text = compare_text([base, new])
    assert text.endswith(
        "not compared: with_subtitles, which b.jsonl lacks\nnot compared: no_video, which a.jsonl lacks\n"
    )
    assert "mine (1 questions" in text


def test_files_that_cannot_be_compared_are_refused_in_one_sentence(tmp_path: Path) -> None:
    base = write(tmp_path / "a.jsonl", answers("10" * 3), answers("10" * 3, "with_subtitles"))
    with pytest.raises(DataError, match="two or more files"):
        compare_text([base])
    with pytest.raises(MissingInputError, match="no file of answers"):
        compare_text([base, tmp_path / "gone.jsonl"])
    with pytest.raises(DataError, match="share no setting"):
        compare_text([base, write(tmp_path / "b.jsonl", answers("1", "no_video"))])
    with pytest.raises(DataError, match="answers no question"):
        compare_text([base, write(tmp_path / "c.jsonl", answers("---"))])


def test_the_command_compares_and_reports_a_mistake_in_one_sentence(tmp_path: Path) -> None:
    base, new = write(tmp_path / "a.jsonl", answers("10" * 30)), write(tmp_path / "b.jsonl", answers("11" * 30))
    command = [sys.executable, "-m", "sg.report", "compare"]
    done = subprocess.run([*command, base, new], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "b.jsonl minus a.jsonl" in done.stdout
    wrong = subprocess.run([*command, base], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)


def test_the_published_differences_have_the_reference_p_values() -> None:
    # `docs/reference/video_mme.md`, section 6, d = .22 and .10, overall
    found = {(d.setting, d.scale): d.p for d in published_deltas(read_published(), 0.22) if d.bucket == "overall"}
    assert [round(p, 3) for p in found.values()] == [
        *(0.485, 0.027, 0.044, 0.139, 0.119),
        *(0.176, 0.092, 0.218, 0.163, 0.268),
    ]
    less = {(d.setting, d.scale): d.p for d in published_deltas(read_published(), 0.10) if d.bucket == "overall"}
    assert round(less["without_subtitles", 100_000], 3) == 0.001


def test_the_claims_of_the_published_study_are_checked_against_its_numbers() -> None:
    text = published_text()
    for piece in (
        "Of 40 differences from no captions, 5 have p < .05 without correction, 0 after Holm and 0 after "
        "Benjamini-Hochberg",
        "Smallest p: without subtitles, 400k, short, +3.9 points",
        "Without subtitles: mean of all 5 caption runs minus no captions +1.4 points, z 2.06",
        "the 5 scales are equally accurate p = .599",
        "With subtitles: mean of all 5 caption runs minus no captions +1.2 points, z 1.75",
        "the 5 scales are equally accurate p = .985",
        "5 of the 30 differences by duration are negative",
        "rises consistently with scale': no, in neither setting",
        "If two models disagree on 10, 13 or 22 % of the questions: 16, 11 or 5 of the 40 differences from no captions "
        "have p < .05, and 4, 1 or 0 after Holm's correction",
        "a true difference of 2.5 points",
        "with subtitles, 50k, overall: printed +0.7, the printed accuracies differ by +1.3 (+1.2 from the counts)",
    ):
        assert piece in text
    assert text.count("/900") == 36 and text.count("/2700") == 12


@pytest.mark.parametrize("item", GOLDEN["multiple_tests"])
def test_benjamini_hochberg_adjusts_as_the_golden_list_does(item: dict[str, Any]) -> None:
    key = next(name for name in item if name not in ("p", "holm", "bonferroni") and isinstance(item[name], list))
    assert benjamini_hochberg(item["p"]) == pytest.approx(item[key], abs=1e-12)
    assert all(np.array(benjamini_hochberg(item["p"])) <= np.array(holm(item["p"])) + 1e-12)


def recorded(folder: Path, checkpoint: str, **benchmark: Any) -> Path:
    """A file of our answers with the record that an evaluation writes beside it."""
    folder.mkdir()
    rows = [replace(row, frames=tuple(range(benchmark["num_frames"]))) for row in answers("1010" * 9)]
    record = {"checkpoint": checkpoint, "version": "0.1.0", "data": {"revision": "local", "questions": "abc"}}
    record |= {"benchmark": {"name": "mvbench", "folder": str(folder), **benchmark}}
    (folder / "scores.json").write_text(json.dumps(record))
    return write(folder / "predictions.jsonl", rows)


def test_what_differs_in_how_two_files_were_made_is_listed_by_topic(tmp_path: Path) -> None:
    common = {"prompt": {"last_line": "Answer:"}, "subtitles": "at_frames"}
    one = recorded(tmp_path / "a", "ckpt", num_frames=8, answer_reader="official", **common)
    two = recorded(tmp_path / "b", "ckpt", num_frames=16, answer_reader="mvbench_bare", **common)
    text = compare_text([one, two]).split("how they were made")[1]
    assert "  frames and sampling: benchmark.num_frames 8 | 16" in text
    assert "  frames and sampling: frames shown 8 to 8, mean 8.0 | 16 to 16, mean 16.0" in text
    assert "  answer rule: benchmark.answer_reader official | mvbench_bare" in text
    assert not [word for word in ("prompt", "subtitles", "model", "folder", "benchmark version") if word in text]


def test_files_of_other_programs_differ_in_their_engine_and_what_is_not_recorded(tmp_path: Path) -> None:
    rows = answers("11-0" * 9)
    ours = recorded(tmp_path / "a", "ckpt", num_frames=8)
    text = compare_text([ours, official(tmp_path / "b.json", rows)]).split("how they were made")[1]
    assert "  engine: engine sg | official script" in text
    assert "  answered questions: answered 36 of 36 | 27 of 36" in text
    assert "  model: checkpoint ckpt | not recorded" in text
    assert "how they were made" not in compare_text([ours, write(tmp_path / "a" / "c.jsonl", answers_like(ours))])


def answers_like(path: Path) -> list[Prediction]:
    return read_predictions(path)
