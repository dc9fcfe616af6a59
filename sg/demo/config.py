"""Settings of the demo world."""

from dataclasses import dataclass, field

from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY

SHARE_GEMINI_K = 530
"""The ShareGemini release has 530k captioned videos: the demo has `videos_per_k` videos for each thousand of them."""


@dataclass
class DemoWorldConfig:
    """Size and seed of a demo world.

    Attributes:
        world_seed: seed of the world: the common values, and every video, question and subtitle.
        videos_per_k: demo videos for each thousand of the real corpus (10 gives 5,300).
        align_clips: short videos with one alt text each, for the align stage.
        instruct_clips: videos with one dialog each, for the instruct stage.
        turns_per_dialog: pairs of question and answer per dialog.
        benchmark_videos: videos of each duration (short, medium, long) in the benchmark.
        held_out_clips: videos with captions that no run trains on.
        questions_per_video: questions about each of them.
        zipf: exponent of the frequencies of colours, shapes and actions in all sets but the benchmark; textures and
            backgrounds have half of it. The larger, the more of the values are rare.
        workers: processes that render in parallel; the files do not depend on their number.
    """

    world_seed: int = 0
    videos_per_k: int = 10
    align_clips: int = 600
    instruct_clips: int = 400
    turns_per_dialog: int = 6
    benchmark_videos: int = 150
    questions_per_video: int = 3
    held_out_clips: int = 150
    zipf: float = 1.0
    workers: int = field(default=2, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        sizes = {
            "videos_per_k": self.videos_per_k,
            "align_clips": self.align_clips,
            "instruct_clips": self.instruct_clips,
            "turns_per_dialog": self.turns_per_dialog,
            "benchmark_videos": self.benchmark_videos,
            "questions_per_video": self.questions_per_video,
            "held_out_clips": self.held_out_clips,
            "workers": self.workers,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"The demo world's {name}={value} should be at least 1.")
        if self.world_seed < 0:
            raise ConfigError(f"The demo world's world_seed={self.world_seed} should be 0 or more.")
        if not 0 <= self.zipf <= 4:
            raise ConfigError(
                f"The demo world's zipf={self.zipf} should be between 0 (all values equally frequent) and 4."
            )
        if max(self.questions_per_video, self.turns_per_dialog) > 8:
            raise ConfigError(
                "The demo world has 8 kinds of questions: questions_per_video="
                f"{self.questions_per_video} and turns_per_dialog={self.turns_per_dialog} should not exceed that."
            )

    @property
    def corpus_videos(self) -> int:
        """Videos of the caption corpus."""
        return SHARE_GEMINI_K * self.videos_per_k
