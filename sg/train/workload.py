"""The work in a collated micro-batch: samples, tokens, and floating-point operations."""

from collections.abc import Callable

from sg.models.student import Batch, Student
from sg.train.callbacks import Work
from sg.train.config import StageConfig
from sg.train.flops import training_flops


def workload(student: Student, stage: StageConfig) -> Callable[[Batch], Work]:
    """A function that measures a micro-batch, with features or with pixels."""
    size = student.size

    def measure(batch: Batch) -> Work:
        found = student.measure(batch)
        flops = training_flops(size, stage, found.positions, found.supervised, found.visual_tokens, found.frames)
        return Work(len(found.positions), sum(found.positions), flops)

    return measure
