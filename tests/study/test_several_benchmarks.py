"""Several benchmarks in one call: one pass over the videos, answers and reports of each, one family of comparisons."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sg.artefacts.predictions import read_predictions
from sg.artefacts.result import read_result
from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.core.errors import ConfigError
from sg.evaluate.benchmark import read_askable_benchmarks, read_benchmark
from sg.evaluate.benchmarks.custom import CustomBenchmarkConfig
from sg.evaluate.config import AnsweringConfig
from sg.models import clips as model_clips
from sg.models.clips import decode_clip
from sg.models.student import StudentProcessor
from sg.report.numbers.statistics import holm
from sg.study.evaluation import EvaluateConfig, evaluate_checkpoint, merge_folder
from sg.video.sampling import FramePolicy
from tests.study.commands import SMALL_STUDY, overrides, run, study_folder
from tests.study.test_evaluation import VIDEOS, settings_of, world  # noqa: F401  # the fixture `world`


def custom_folder(folder: Path, videos: list[Path]) -> Path:
    """A folder of `benchmark=custom` with one question about each of the videos."""
    (folder / "videos").mkdir(parents=True)
    lines = []
    for video in videos:
        shutil.copy(video, folder / "videos")
        question = {"question": "What moves?", "options": ["a red square", "a blue circle"], "answer": "a red square"}
        lines.append(json.dumps({"video": f"videos/{video.name}", **question}))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def two_benchmarks(world: Path, folder: Path) -> EvaluateConfig:  # noqa: F811
    config = settings_of(world, folder, probes=[])
    videos = sorted(Path(config.benchmark.folder, "videos").glob("*.mp4"))
    answering = AnsweringConfig(settings=["without_subtitles"], probes=[], max_new_tokens=8)
    own = CustomBenchmarkConfig("own", str(custom_folder(folder / "own", videos[:4])), answering=answering)
    return replace(config, more_benchmarks={"own": own})


def test_every_file_is_decoded_once_for_all_benchmarks(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    decoded: list[str] = []

    def counted(key: str, path: Path, processor: StudentProcessor, sampling: FramePolicy | None) -> ClipTensors:
        decoded.append(path.name)
        return decode_clip(key, path, processor, sampling)

    monkeypatch.setattr(model_clips, "decode_clip", counted)
    config = two_benchmarks(world, tmp_path)
    scores = evaluate_checkpoint(config)
    assert len(decoded) == len(set(decoded)) == VIDEOS
    assert set(scores) == {"demo/without_subtitles", "demo/with_subtitles", "own/without_subtitles"}
    rows = read_predictions(tmp_path / "out" / "own" / "predictions.jsonl")
    assert len(rows) == 4
    assert {row.status for row in rows} == {"ok"}

    alone = replace(config, more_benchmarks={}, output=str(tmp_path / "alone"))
    assert evaluate_checkpoint(alone)["with_subtitles"] == scores["demo/with_subtitles"]
    for name in ("predictions.jsonl", "official_with_subtitles.json", "official_with_subtitles.txt"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "out" / "demo" / name).read_bytes()
    assert len(decoded) == VIDEOS


def test_a_shared_file_has_the_clip_of_the_first_benchmark(world: Path, tmp_path: Path) -> None:  # noqa: F811
    config = two_benchmarks(world, tmp_path)
    demo, own = read_askable_benchmarks(config.benchmarks)
    assert {video.shared_clip for video in demo.videos} == {""}
    assert all(video.shared_clip.startswith("demo/") for video in own.videos)
    assert demo == read_benchmark(config.benchmark)


def test_shards_of_several_benchmarks_merge_to_the_files_of_one_process(world: Path, tmp_path: Path) -> None:  # noqa: F811
    config = two_benchmarks(world, tmp_path)
    whole = evaluate_checkpoint(config)
    parts = tmp_path / "parts"
    for index in (0, 1):
        assert evaluate_checkpoint(replace(config, output=str(parts), shards=2, shard=index)) == {}
    assert merge_folder(config, parts) == whole


def test_two_benchmarks_need_two_names_and_a_file_of_answers_is_of_one(world: Path, tmp_path: Path) -> None:  # noqa: F811
    config = two_benchmarks(world, tmp_path)
    with pytest.raises(ConfigError, match="Two benchmarks are called 'demo'"):
        replace(config, more_benchmarks={"again": config.benchmark})
    with pytest.raises(ConfigError, match="answers to one benchmark"):
        replace(config, checkpoint=None, predictions="answers.csv")


@pytest.mark.slow
def test_a_sweep_with_two_benchmarks_resumes_and_corrects_over_both(tmp_path: Path) -> None:
    sweep = [
        "train.py",
        "-m",
        "data.scale=100k",
        *SMALL_STUDY,
        *overrides(tmp_path),
        "controls=[]",
        "logger=csv",
        "launcher=local",
    ]
    done = run([*sweep, "benchmark=demo"])
    assert done.returncode == 0, done.stdout + done.stderr
    study = study_folder(tmp_path)
    before = {path: path.read_bytes() for path in study.glob("*/predictions.jsonl")}
    results = {path: path.read_bytes() for path in study.glob("*/result.json")}
    videos = sorted((tmp_path / "work").glob("**/benchmark/videos/*.mp4"))
    folder = custom_folder(tmp_path / "own", videos[:6])

    both = [*sweep, "benchmark=[demo,custom]", f"benchmark.custom.folder={folder}"]
    done = run(both)
    assert done.returncode == 0, done.stdout + done.stderr
    further = study / "benchmarks" / "custom"
    # The first benchmark's results stay as they are; no stage is trained again.
    assert {path: path.read_bytes() for path in study.glob("*/predictions.jsonl")} == before
    assert {path: path.read_bytes() for path in study.glob("*/result.json")} == results
    assert {path.parent.name for path in further.glob("*/result.json")} == {"0-seed0", "100k-seed0"}
    assert read_result(further / "100k-seed0").benchmark == "custom"
    assert all(stage.reused for stage in read_result(further / "100k-seed0").stages.values())
    assert "All benchmarks" in done.stdout

    with (study / "report" / "benchmarks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["benchmark"], row["setting"]) for row in rows] == [
        ("demo", "without_subtitles"), ("demo", "with_subtitles"), ("custom", "without_subtitles"),
    ]  # fmt: skip
    planned = []
    for place in (study, further):
        with (place / "report" / "tables.csv").open() as stream:
            planned += [row for row in csv.DictReader(stream) if row["bucket"] == "overall" and row["delta_p"]]
    assert len(planned) >= 2  # six questions of `custom` may get the same answers with and without captions
    expected = holm([float(row["delta_p"]) for row in planned])
    assert [float(row["delta_p_holm"]) for row in planned] == pytest.approx(expected)
    page = (study / "report" / "index.html").read_text()
    assert '<a href="../benchmarks/custom/report/index.html">custom</a>' in page
    assert (study / "report" / "../benchmarks/custom/report/index.html").is_file()

    shutil.rmtree(further / "100k-seed0")
    (study / "100k-seed0" / "result.json").unlink()  # as a run that was killed before its last result
    done = run(both)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (study / "100k-seed0" / "predictions.jsonl").read_bytes() == before[study / "100k-seed0/predictions.jsonl"]
    assert read_result(further / "100k-seed0").is_finished
