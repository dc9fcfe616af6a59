"""Studies drawn at random, with a known true difference: what the simulations of this folder analyse.

A question is answered correctly if a latent normal variable is above 0. It is the sum of the question's difficulty, of
what the arm adds on the video and on the question (the same in all seeds), of what one training run adds on the video
and on the question, and of one shift of the whole run. The shares are chosen so that two arms with the same seed
disagree on 22 % of the questions, two seeds of one arm on 18 %, and the differences within a video correlate by .05:
the assumptions of `sg.report.numbers.power`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from sg.report.numbers.estimates import ArmScore, Floats, arm_score

ARM, RUN = 0.073, 0.156
"""Shares of the latent variance; the rest is the difficulty of the questions, which cancels in a difference."""
ARM_ON_VIDEO, RUN_ON_VIDEO = 0.069, 0.19
"""Shares of these that all questions about a video have in common."""


@dataclass(frozen=True)
class Design:
    """A study to draw: `seeds[arm]` are the seeds of each arm.

    `seed_sd` is the standard deviation in points of one run's accuracy beyond the choice of questions; a number per
    arm, or one for all. `gain` is the true difference in points of the first arm from all others.
    """

    seeds: tuple[tuple[int, ...], ...]
    seed_sd: float | tuple[float, ...] = 0.0
    gain: float = 0.0
    videos: int = 900
    questions_per_video: int = 3


def draw(design: Design, generator: np.random.Generator) -> list[ArmScore]:
    """Draw the answers of one study and score its arms."""
    videos = np.repeat(np.arange(design.videos), design.questions_per_video)
    count = len(videos)
    difficulty = generator.normal(0, np.sqrt(1 - ARM - RUN), count)

    def part(rows: int, share: float, on_video: float) -> Floats:
        """[rows, questions] normal numbers of variance `share`, of which `on_video` is common to a video."""
        common = generator.normal(0, np.sqrt(share * on_video), (rows, design.videos))[:, videos]
        return np.asarray(common + generator.normal(0, np.sqrt(share * (1 - on_video)), (rows, count)))

    arms = []
    for place, seeds in enumerate(design.seeds):
        sd = design.seed_sd if isinstance(design.seed_sd, float) else design.seed_sd[place]
        arm, own = part(1, ARM, ARM_ON_VIDEO), part(len(seeds), RUN, RUN_ON_VIDEO)
        # The latent variable has variance 1 and the chance of a right answer is one half, so this shift is in points.
        points = generator.normal(0, sd, len(seeds)) + (design.gain if place == 0 else 0.0)
        shift = norm.ppf(np.clip(0.5 + points / 100, 0.01, 0.99))[:, None]
        answers: Floats = (difficulty + arm + own + shift > 0).astype(np.float64)
        score = arm_score(answers, videos, seeds)
        assert score is not None
        arms.append(score)
    return arms
