"""Writes answers as the sample logs of lmms-eval (version 0.7), which `sg.artefacts.answer_files.lmms_eval` reads."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sg.artefacts.answer_files.lmms_eval import read_log
from sg.artefacts.answer_rules.mvbench import task_file
from sg.artefacts.answer_rules.question import Question
from sg.artefacts.predictions import WITH_SUBTITLES, Prediction
from sg.core.errors import ConfigError
from sg.core.files import write_json, write_text
from sg.evaluate.benchmark import BENCHMARKS, Benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.official.files import number_in_task

TIME_ZONE = timedelta(hours=8)
"""The names of its files have the time of UTC+8."""


def _video_mme(row: Prediction, question: Question) -> tuple[str, dict[str, Any]]:
    return "videomme_perception_score", {
        "question_id": row.question_id, "duration": row.duration, "category": row.domain,
        "sub_category": row.sub_category, "task_category": row.task_type, "pred_answer": row.letter,
        "answer": row.answer, "score": float(row.letter == row.answer), "videoID": row.video_id,
    }  # fmt: skip


def _mvbench(row: Prediction, question: Question) -> tuple[str, dict[str, Any]]:
    values = {"pred_answer": row.response, "gt_answer": row.answer, "score": int(row.is_strictly_correct)}
    return "mvbench_accuracy", values


def _longvideobench(row: Prediction, question: Question) -> tuple[str, dict[str, Any]]:
    seconds = re.search(r"\d+", row.domain)
    return "lvb_acc", {
        "id": row.question_id, "duration_group": int(seconds[0]) if seconds else 0, "answer": row.answer,
        "question_category": row.task_type, "parsed_pred": row.letter,
    }  # fmt: skip


def _mlvu(row: Prediction, question: Question) -> tuple[str, dict[str, Any]]:
    values = {"question_id": _prompt(question), "task_type": row.task_type, "pred_answer": row.letter}
    return "mlvu_percetion_score", values | {"answer": row.answer}


_METRICS: Mapping[str, Callable[[Prediction, Question], tuple[str, dict[str, Any]]]] = {
    "video_mme": _video_mme,
    "mvbench": _mvbench,
    "longvideobench": _longvideobench,
    "mlvu": _mlvu,
}


def _task(kind: str, row: Prediction) -> str:
    """The name of the task of a row in lmms-eval."""
    subtitles = row.setting == WITH_SUBTITLES
    names = {
        "video_mme": "videomme_w_subtitle" if subtitles else "videomme",
        "mvbench": f"mvbench_{task_file(row.task_type)}",
        "longvideobench": "longvideobench_val_i" if subtitles else "longvideobench_val_v",
        "mlvu": "mlvu_dev",
    }
    return names[kind]


def _prompt(question: Question) -> str:
    options = zip(question.letters, question.option_texts, strict=True)
    return "\n".join([question.text, *(f"({letter}) {text}" for letter, text in options)])


def write_logs(folder: Path, config: BenchmarkConfig, benchmark: Benchmark, rows: Sequence[Prediction]) -> list[Path]:
    """Write the rows of one setting, in the order of the benchmark: a log per task, and `results.json` with its score.

    A row without an answer has an empty reply.

    Raises:
        ConfigError: lmms-eval has no such log for the benchmark.
    """
    kind = BENCHMARKS.name_of(config)
    if kind not in _METRICS:
        raise ConfigError(f"format=lmms_eval is known for {', '.join(_METRICS)}, not for {kind}: use format=official.")
    samples: dict[str, list[str]] = {}
    numbers = _numbers(kind, benchmark)
    for row in rows:
        question, number = numbers[row.question_id]
        metric, values = _METRICS[kind](row, question)
        prompt = _prompt(question)
        if kind == "mvbench":
            prompt = f"Question:{question.text}\nOption:\n" + prompt.partition("\n")[2]
        sample = {"doc_id": number, "target": row.answer, "filtered_resps": row.response}
        line = json.dumps({**sample, metric: values, "input": prompt}, ensure_ascii=False)
        samples.setdefault(_task(kind, row), []).append(line)
    date = f"{datetime.now(UTC) + TIME_ZONE:%Y%m%d_%H%M%S}"
    paths = {task: folder / f"{date}_samples_{task}.jsonl" for task in samples}
    for task, path in paths.items():
        write_text(path, "\n".join(samples[task]) + "\n")
    write_json(folder / f"{date}_results.json", {"results": _results(paths, metric)})
    return [*paths.values(), folder / f"{date}_results.json"]


def _numbers(kind: str, benchmark: Benchmark) -> dict[str, tuple[Question, int]]:
    """Each question with its `doc_id`: its row in the data set, of which MVBench has one per task."""
    return {
        question.question_id: (question, number_in_task(question.question_id) if kind == "mvbench" else at)
        for at, question in enumerate(benchmark.questions)
    }


def _results(paths: Mapping[str, Path], metric: str) -> dict[str, Any]:
    """The score of each task by lmms-eval's own counting, as it writes it."""
    share = 0.01 if metric == "lvb_acc" else 1.0  # a fraction, unlike the other metrics
    results = {}
    for task, path in paths.items():
        harness = read_log(path).harness
        value = None if harness is None else harness.value
        results[task] = {"alias": task, f"{metric},none": (value or 0.0) * share}
    return results
