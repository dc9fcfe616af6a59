"""Builders of synthetic study folders: answers drawn from a model of questions and gains, in the real file formats."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sg.artefacts.predictions import Prediction
from sg.artefacts.result import FAILED, RunResult, StageResult, read_result, write_result
from sg.core.scales import scale_label

DURATIONS = ("short", "medium", "long")
LETTERS = np.array(list("ABCD"))


@dataclass
class World:
    """A benchmark of `videos` videos with three questions each, and the runs that answer it."""

    folder: Path
    videos: int = 90
    benchmark: str = "demo"
    seed: int = 0
    probes: bool = True
    silent: float = 0.0
    registration: str = ""
    answers: np.ndarray = field(init=False)
    skill: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        self.answers = LETTERS[generator.integers(4, size=3 * self.videos)]
        per_video = np.repeat(generator.normal(0, 0.4, self.videos), 3)
        self.skill = per_video + generator.normal(0, 0.6, 3 * self.videos)

    def question(self, number: int) -> dict[str, str]:
        video = number // 3
        return {
            "question_id": f"{video:03d}-{number % 3 + 1}",
            "video_id": f"v{video:03d}",
            "duration": DURATIONS[video * 3 // self.videos],
            "answer": str(self.answers[number]),
            "domain": "Demo",
            "task_type": "Counting Problem",
        }

    def run(
        self,
        scale: int,
        seed: int = 0,
        control: str | None = None,
        gain: float = 0.0,
        subtitle_gain: float = 0.8,
        steps: int | None = None,
        settings: tuple[str, ...] | None = None,
        reason: str = "",
    ) -> Path:
        """Write one run; `gain` is added to the log-odds of a right answer."""
        name = f"scale={scale_label(scale)},control={control},seed={seed}"
        path = self.folder / name
        path.mkdir(parents=True)
        result = self._result(name, scale, seed, control, steps if steps is not None else scale // 1600, reason)
        if not reason:
            rows = self._predictions(seed, scale, control, gain, subtitle_gain, settings)
            (path / "predictions.jsonl").write_text("".join(row.to_json() + "\n" for row in rows))
        write_result(path, result)
        return path

    def _result(self, name: str, scale: int, seed: int, control: str | None, steps: int, reason: str) -> RunResult:
        return RunResult(
            run=name,
            study=self.folder.name,
            scale=scale,
            scale_label=scale_label(scale),
            seed=seed,
            control=control,
            num_captions=scale // 100,
            benchmark=self.benchmark,
            status=FAILED if reason else "finished",
            reason=reason,
            command="python train.py -m data.scale=50k,100k seed=0,1,2",
            steps={"align": 38, "caption": steps, "instruct": 100} if scale else {"align": 38, "instruct": 100},
            stages={
                "align": StageResult("a" * 16, reused=scale > 0, seconds=3.5),
                "instruct": StageResult(f"{scale:016x}", False, 12.25),
            },
            versions={"sharegemini": "0.1.0", "torch": "2.13.0"},
            timings={"evaluate": 4.0},
            scores={} if reason else {"without_subtitles": {"overall": 40.0}},
            registration=self.registration,
        )

    def _predictions(
        self,
        seed: int,
        scale: int,
        control: str | None,
        gain: float,
        subtitle_gain: float,
        settings: tuple[str, ...] | None,
    ) -> list[Prediction]:
        levels = {"without_subtitles": gain - 0.6, "with_subtitles": gain / 2 + subtitle_gain - 0.6}
        if self.probes and scale and control is None:
            levels |= {"zeroed_video": None, "swapped_video": None}
        rows = []
        for setting, level in levels.items():
            if settings is not None and setting not in settings:
                continue
            generator = np.random.default_rng([self.seed, seed, scale, len(control or ""), len(setting)])
            chance = 0.25 if level is None else 0.25 + 0.75 / (1 + np.exp(-(self.skill * 2 + level - 1)))
            is_correct = generator.random(len(self.answers)) < chance
            wrong = LETTERS[(np.searchsorted(LETTERS, self.answers) + generator.integers(1, 4, len(self.answers))) % 4]
            given = np.where(is_correct, self.answers, wrong)
            given[generator.random(len(given)) < self.silent] = ""
            rows += [
                Prediction(setting=setting, response=f"red {letter}", letter=str(letter), **self.question(number))
                for number, letter in enumerate(given)
            ]
        return rows


SWEEP = ((0, 0.0), (50_000, 0.2), (100_000, 0.7), (200_000, 1.0), (400_000, 1.2), (530_000, 1.25))


def write_study(
    folder: Path, videos: int = 90, seeds: int = 3, benchmark: str = "demo", controls: bool = True
) -> World:
    """Six scales x `seeds`, an equal-step and a random control, and one failed run at 400k."""
    world = World(folder, videos, benchmark)
    for seed in range(seeds):
        for scale, gain in SWEEP:
            failed = "CUDA out of memory at step 12 <script>alert(1)</script>" if (scale, seed) == (400_000, 1) else ""
            world.run(scale, seed, gain=gain, reason=failed)
        if controls:
            world.run(50_000, seed, "equal_steps", gain=0.9, steps=331)
            world.run(100_000, seed, "random", gain=0.65)
    return world


def record_inputs(study: Path, inputs: dict[str, str], config: dict[str, Any] | None = None) -> None:
    """Record `inputs`, those of a core of 8 videos, and `config` in every run of a study."""
    for file in study.glob("*/result.json"):
        result = read_result(file)
        changed = replace(result, inputs=inputs, num_captions=8 if result.scale else 0)
        write_result(file.parent, replace(changed, config=config) if config else changed)


def write_corpus(folder: Path, videos: int = 24) -> dict[str, str]:
    """Write videos, captions and a merge forest; one video file is missing, one is damaged, one caption is hostile.

    Returns the `inputs` of a run: name -> path.
    """
    from sg.artefacts.captions import CaptionRecord, write_captions
    from sg.artefacts.forest import Forest, subtree_sizes, write_forest
    from sg.artefacts.manifest import VideoRecord, write_manifest
    from sg.video.writer import write_video

    ids = [f"clip{number:02d}" for number in range(videos)]
    for number, name in enumerate(ids[1:], start=1):
        frames = np.full((12, 48, 64, 3), 40, dtype=np.uint8)
        for step in range(12):
            frames[step, 8:24, 4 * step : 4 * step + 14] = np.array([60 + 8 * number, 250 - 9 * number, 120])
        write_video(folder / "videos" / f"{name}.mp4", frames, fps=4)
    (folder / "videos" / f"{ids[1]}.mp4").write_bytes(b"not a video")
    write_manifest(folder / "manifest.parquet", [VideoRecord(name, "test", f"{name}.mp4") for name in ids])
    captions = [CaptionRecord(name, f"A square moves, <script>alert({name!r})</script>.") for name in ids]
    write_captions(folder / "captions.parquet", captions)
    parent = np.array(
        [min(videos - 1, row + videos // 2 + row % 3) if row < 2 * videos // 3 else -1 for row in range(videos)]
    )
    size = subtree_sizes(parent)
    merged = np.where(parent >= 0, np.linspace(0.95, 0.4, videos), np.nan).astype(np.float32)
    rounds = np.where(parent >= 0, np.arange(videos) // 4, -2).astype(np.int32)
    forest = Forest(ids, parent.astype(np.int64), merged, rounds, size, merged)
    write_forest(folder / "forest.parquet", forest)
    names = ("manifest.parquet", "captions.parquet", "forest.parquet", "videos")
    return {name.removesuffix(".parquet"): str(folder / name) for name in names}
