"""The arms of a study: which captions a run trains on, and for how many steps.

An arm is a function from the core of the run's scale to its samples. `sg.artefacts.arms` says what each arm holds fixed
and how the report names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sg.artefacts.arms import ARM_KINDS, EQUAL_STEPS, HEADLINE, INSTRUCT_STEPS, RANDOM, SHUFFLED_CAPTIONS, ArmKind
from sg.core.errors import ConfigError
from sg.core.fingerprints import text_seed
from sg.study.config import TrainConfig
from sg.study.core_counts import caption_draws
from sg.train.config import num_steps


@dataclass(frozen=True, slots=True)
class CaptionPool:
    """What an arm draws from.

    Attributes:
        core: videos of the run's core, at least one; `usable`: all videos with a caption that is not held out.
        texts: returns the captions of given videos by id; without the videos that have none.
    """

    config: TrainConfig
    core: Sequence[str]
    usable: Sequence[str]
    texts: Callable[[Sequence[str]], Mapping[str, str]]

    def whole(self, videos: Sequence[str]) -> ArmSamples:
        """The captions of `videos` for the epochs of the caption stage."""
        own = self.texts(videos)
        return ArmSamples(own, len(own) * self.config.stage.caption.epochs)


@dataclass(frozen=True, slots=True)
class ArmSamples:
    """What an arm trains on.

    Attributes:
        captions: video id -> the caption that the caption stage trains on; empty leaves the stage out.
        num_draws: samples that the caption stage sees over all its epochs, repetitions included.
        instruct_steps: optimiser steps of the instruct stage in addition to its epochs.
    """

    captions: Mapping[str, str]
    num_draws: int
    instruct_steps: int = 0


DrawSamples = Callable[[CaptionPool], ArmSamples]


def arm_samples(pool: CaptionPool) -> ArmSamples:
    """The samples of the run's arm, `data.control`.

    Raises:
        ConfigError: the arm adds steps to the stage instruct, which the recipe lacks.
    """
    samples = _DRAWS[pool.config.data.control](pool)
    if samples.instruct_steps:
        check_instruct_steps(pool.config)
    return samples


def check_instruct_steps(config: TrainConfig) -> None:
    """Raise ConfigError if the recipe lacks the stage instruct, to which the run's arm adds steps."""
    if config.stage.instruct is None:
        raise ConfigError(
            f"data.control={config.data.control} adds steps to the stage instruct, which is not in "
            f"stages=[{','.join(config.stages or ())}]: leave out this control, or add the stage."
        )


def register_arm(name: str, kind: ArmKind, draw: DrawSamples) -> None:
    """Add the arm `data.control=name`, for plug-ins. A second call with the same name replaces the first."""
    ARM_KINDS[name] = kind
    _DRAWS[name] = draw


def _headline(pool: CaptionPool) -> ArmSamples:
    return pool.whole(pool.core)


def _equal_steps(pool: CaptionPool) -> ArmSamples:
    """The core, repeated until the stage has seen as many samples as a run at `data.control_scale` does."""
    draws = caption_draws(pool.config, len(pool.usable))
    assert draws is not None  # The number of usable videos is known.
    # The largest scale trains on all videos but the held-out ones.
    most = len(pool.usable) * pool.config.stage.caption.epochs
    return ArmSamples(pool.whole(pool.core).captions, min(draws, most))


def _random(pool: CaptionPool) -> ArmSamples:
    """As many videos as the core, drawn without the merge forest. The draws of one seed are nested over the scales."""
    seed = pool.config.seed
    drawn = sorted(pool.usable, key=lambda video_id: text_seed("random control", seed, video_id))
    return pool.whole(drawn[: len(pool.core)])


def _shuffled_captions(pool: CaptionPool) -> ArmSamples:
    """The core, every video with the caption of another one: the next in a seeded order. One video keeps its own."""
    own, seed = pool.whole(pool.core), pool.config.seed
    order = sorted(own.captions, key=lambda video_id: text_seed("shuffled captions", seed, video_id))
    taken = dict(zip(order, [*order[1:], order[0]], strict=True))
    return ArmSamples({video_id: own.captions[taken[video_id]] for video_id in own.captions}, own.num_draws)


def _instruct_steps(pool: CaptionPool) -> ArmSamples:
    """No captions; the steps of the caption stage are added to the instruct stage."""
    own = pool.whole(pool.core)
    return ArmSamples({}, 0, num_steps(own.num_draws, pool.config.stage.caption.batch_size))


_DRAWS: dict[str, DrawSamples] = {
    HEADLINE: _headline,
    EQUAL_STEPS: _equal_steps,
    RANDOM: _random,
    SHUFFLED_CAPTIONS: _shuffled_captions,
    INSTRUCT_STEPS: _instruct_steps,
}
