"""A fixed sample of the questions of a benchmark, and the scores of a student on it, without files."""

from collections.abc import Mapping
from dataclasses import replace

from sg.artefacts.predictions import OVERALL
from sg.core.fingerprints import text_seed
from sg.evaluate.answering import answers_of
from sg.evaluate.asking import FeatureSource
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.config import BenchmarkConfig
from sg.evaluate.scoring import score
from sg.models.student import Student, StudentProcessor


def sampled(benchmark: Benchmark, questions: int) -> Benchmark:
    """The benchmark with a random, always equal part of its videos that have a file: about as many questions.

    Whole videos are drawn, because the questions of a video share most of the work.
    """
    drawn = sorted(
        (video for video in benchmark.videos if video.path is not None),
        key=lambda video: text_seed("sample of questions", benchmark.name, video.media_id),
    )
    kept: set[str] = set()
    count = 0
    for video in drawn:
        if count < questions:
            kept.add(video.media_id)
            count += len(video.questions)
    return replace(benchmark, videos=tuple(video for video in benchmark.videos if video.media_id in kept))


def sample_scores(
    student: Student,
    processor: StudentProcessor,
    sample: Benchmark,
    features: FeatureSource,
    config: BenchmarkConfig,
    failures: Mapping[str, str],
) -> dict[str, float]:
    """Accuracy and probabilities in percent on the questions of `sample`, in every setting without probes."""
    asked = replace(config, answering=replace(config.answering, probes=[]))
    scores = {}
    for setting, found in score(answers_of(student, processor, sample, features, asked, failures)).items():
        scores[f"{setting}/accuracy"] = found.buckets[OVERALL].overall.accuracy
        for name, own in (("right_letter", found.calibration), ("right_text", found.text_calibration)):
            if own is not None:
                scores[f"{setting}/{name}"] = own.right
    return scores
