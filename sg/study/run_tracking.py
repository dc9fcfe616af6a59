"""The records of a finished run in W&B besides its curves: scores by topic, costs, answers with frames, artefacts."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.costs import EVALUATE, device_hours, usd_a_caption
from sg.artefacts.predictions import OVERALL, Prediction, read_predictions
from sg.artefacts.result import PREDICTIONS_FILE, RunResult
from sg.core.errors import SgError
from sg.core.fingerprints import text_seed
from sg.core.tracking import Tracker
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.scoring import Scores, score
from sg.study.inputs import Inputs

if TYPE_CHECKING:
    from sg.train.stage import StageJob

log = logging.getLogger(__name__)

PREDICTIONS_TABLE = "predictions"
COLUMNS = (
    "question_id", "setting", "task_type", "domain", "duration", "answer", "letter", "correct", "response", "frames",
)  # fmt: skip
QUESTIONS_SHOWN = 24
SHOWN_FRAMES = 4
FRAME_WIDTH = 128


def record_run(
    tracker: Tracker, result: RunResult, folder: Path, inputs: Inputs, jobs: Sequence[StageJob], benchmark: Benchmark
) -> None:
    """Log the records of the finished run in `folder`, from its result and predictions."""
    rows = read_predictions(folder / PREDICTIONS_FILE)
    tracker.summary(topic_scores(benchmark.name, score(rows)) | run_costs(result, inputs.captions))
    shown = chosen_rows(rows, QUESTIONS_SHOWN)
    frames = _frames(benchmark, shown) if tracker.shows_frames(is_public=benchmark.name == "demo") else {}
    tracker.table(PREDICTIONS_TABLE, COLUMNS, [_table_row(row, frames.get(row.video_id)) for row in shown])
    _artefacts(tracker, result, folder, inputs, jobs)


def topic_scores(benchmark: str, scores: Scores) -> dict[str, float | str]:
    """Official accuracies by task type and domain: {`demo/with_subtitles/task_type/counting_problem`: percent}."""
    values: dict[str, float | str] = {}
    for setting, result in scores.items():
        whole = result.buckets[OVERALL]
        for kind, counts in (("task_type", whole.task_type), ("domain", whole.domain)):
            for name, count in counts.items():
                if name:
                    values[f"{benchmark}/{setting}/{kind}/{key_name(name)}"] = count.accuracy
    return values


def key_name(name: str) -> str:
    """A name as part of a W&B key: `Action Recognition` -> `action_recognition`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def run_costs(result: RunResult, captions: Path) -> dict[str, float | str]:
    """Device hours of the run by stage, and the price of its captions in US dollars."""
    seconds = {name: stage.seconds for name, stage in result.stages.items()}
    hours = device_hours(seconds, result.timings.get(EVALUATE, 0.0), result.config.get("trainer") or {})
    values: dict[str, float | str] = {"cost/device_hours": hours.total, "cost/evaluate_hours": hours.evaluate}
    values |= {f"cost/{name}_hours": value for name, value in hours.stages.items()}
    price = usd_a_caption(captions)
    return values if price is None else values | {"cost/caption_usd": price * result.num_captions}


def chosen_rows(rows: Sequence[Prediction], questions: int) -> list[Prediction]:
    """The answers to about `questions` questions in every setting: the same ones each time, of all task types."""
    by_type: dict[str, list[str]] = {}
    for row in rows:
        names = by_type.setdefault(row.task_type, [])
        if row.question_id not in names:
            names.append(row.question_id)
    each = -(-questions // max(1, len(by_type)))
    chosen = {
        name
        for names in by_type.values()
        for name in sorted(names, key=lambda name: text_seed("shown", name))[:each]
    }  # fmt: skip
    return sorted((row for row in rows if row.question_id in chosen), key=lambda row: (row.question_id, row.setting))


def _table_row(row: Prediction, frames: Any) -> list[Any]:
    return [
        row.question_id, row.setting, row.task_type, row.domain, row.duration, row.answer, row.letter, row.is_correct,
        row.response, frames,
    ]  # fmt: skip


def _frames(benchmark: Benchmark, rows: Sequence[Prediction]) -> dict[str, Any]:
    """Some frames of each video side by side, uint8 [H, W, 3], by video id; videos that cannot be read are left out."""
    import numpy as np

    from sg.video.reader import read_frames
    from sg.video.resize import resize
    from sg.video.sampling import MiddleOfSegments

    wanted = {row.video_id for row in rows}
    pictures: dict[str, Any] = {}
    for video in benchmark.videos:
        if video.video_id not in wanted or video.path is None:
            continue
        try:
            frames = read_frames(video.path, MiddleOfSegments(SHOWN_FRAMES)).frames
        except SgError as error:
            log.warning("no frames of %s in the table of answers: %s", video.video_id, error)
            continue
        width = min(FRAME_WIDTH, frames.shape[2])
        small = resize(frames, max(1, frames.shape[1] * width // frames.shape[2]), width)
        pictures[video.video_id] = np.concatenate(list(small), axis=1)
    return pictures


def _artefacts(tracker: Tracker, result: RunResult, folder: Path, inputs: Inputs, jobs: Sequence[StageJob]) -> None:
    """Log captions, forest, checkpoints and predictions, each with the names of its inputs."""
    sources: list[str] = []
    if result.num_captions:
        captions = tracker.artefact(f"captions-{result.config['data']['name']}", "captions", inputs.captions)
        forest = f"forest-{inputs.forest.parent.name}"
        sources = [captions, tracker.artefact(forest, "forest", inputs.forest, made_from=[captions])]
    parents: list[str] = []
    for job in jobs:
        made_from = [*parents, *(sources if job.stage.name == "caption" else [])]
        details: Mapping[str, Any] = {"fingerprint": job.fingerprint, "steps": result.steps.get(job.stage.name, 0)}
        name = f"checkpoint-{job.stage.name}-{job.fingerprint}"
        parents = [tracker.artefact(name, "checkpoint", job.folder, made_from=made_from, details=details)]
    details = {"benchmark": result.benchmark, "run": result.run}
    answers = f"predictions-{result.study}-{result.run}"
    tracker.artefact(answers, "predictions", folder / PREDICTIONS_FILE, made_from=parents, details=details, upload=True)
