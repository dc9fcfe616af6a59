"""The videos of a demo world: the caption corpus with near duplicates, the align and instruct sets, the benchmark.

Every set has its own random generator, seeded by the world seed and the name of the set. No scene of the benchmark is
shown in another set.
"""

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass

from sg.artefacts.dialogs import Dialog, Turn
from sg.core.fingerprints import text_seed
from sg.demo.config import DemoWorldConfig
from sg.demo.language import (
    ALT_TEXT_REQUEST,
    CAPTION_REQUEST,
    KINDS,
    DemoCue,
    DemoQuestion,
    alt_text,
    ask,
    caption,
    subtitle_block,
    subtitles,
)
from sg.demo.render import FRAMES_PER_SCENE
from sg.demo.world import DURATIONS, UNIFORM, Law, Rendition, Scene, VideoSpec, draw_video, vary_one_attribute, zipf_law

CORPUS_MIX = {"short": 0.80, "medium": 0.15, "long": 0.05}
INSTRUCT_MIX = {"short": 0.60, "medium": 0.25, "long": 0.15}
FAMILY_SHARE = 0.45
"""Distinct contents as a fraction of the corpus; the other videos are near duplicates of them."""
FAMILY_EXPONENT = 0.7
"""Family number r (from 1) has further copies with weight r^-0.7."""
VARIATION_SHARE = 0.30
"""Fraction of the copies of which one action or texture is drawn again; the others differ in the rendering only."""


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """One video: its id (the file name without suffix), what it shows, and how it is rendered."""

    video_id: str
    spec: VideoSpec
    rendition: Rendition
    family: int = 0


@dataclass(frozen=True, slots=True)
class AskedVideo:
    """A video of the instruct set or the benchmark, with its questions and subtitles (no `cues`: none)."""

    video: DemoVideo
    questions: tuple[DemoQuestion, ...]
    cues: tuple[DemoCue, ...]


@dataclass(frozen=True, slots=True)
class DemoWorld:
    """All videos of one world."""

    corpus: tuple[DemoVideo, ...]
    align: tuple[DemoVideo, ...]
    instruct: tuple[AskedVideo, ...]
    benchmark: tuple[AskedVideo, ...]
    held_out: tuple[DemoVideo, ...]

    @property
    def training_videos(self) -> list[DemoVideo]:
        """All videos of the training stages."""
        return [*self.corpus, *self.align, *(item.video for item in self.instruct)]

    @property
    def videos(self) -> list[DemoVideo]:
        """All videos."""
        return [*self.training_videos, *(item.video for item in self.benchmark), *self.held_out]


def make_world(config: DemoWorldConfig) -> DemoWorld:
    """Draw a world; the same config always returns the same world."""
    law = zipf_law(config.world_seed, config.zipf)
    corpus = _make_corpus(_generator(config, "corpus"), law, config.corpus_videos)
    align = _make_align(_generator(config, "align"), law, config.align_clips)
    instruct = _make_instruct(_generator(config, "instruct"), law, config)
    seen = scenes_of([*corpus, *align, *(item.video for item in instruct)])
    benchmark = _make_benchmark(_generator(config, "benchmark"), config, seen)
    seen |= scenes_of(item.video for item in benchmark)
    held_out = _make_held_out(_generator(config, "held out"), law, config.held_out_clips, seen)
    return DemoWorld(corpus, align, instruct, benchmark, held_out)


def scenes_of(videos: Iterable[DemoVideo]) -> set[Scene]:
    """All scenes that the videos show."""
    return {scene for video in videos for scene in video.spec.scenes}


def align_dialog(video: DemoVideo) -> Dialog:
    """The video's alt text as a dialog of one turn."""
    turns = (Turn("human", f"<video>\n{ALT_TEXT_REQUEST}"), Turn("gpt", alt_text(video.spec)))
    return Dialog(video.video_id, "video", f"{video.video_id}.mp4", turns)


def held_out_dialog(video: DemoVideo) -> Dialog:
    """The video's caption as a sample of the caption stage."""
    turns = (Turn("human", f"<video>\n{CAPTION_REQUEST}"), Turn("gpt", caption(video.spec)))
    return Dialog(video.video_id, "video", f"{video.video_id}.mp4", turns)


def instruct_dialog(item: AskedVideo) -> Dialog:
    """The questions about a video as one dialog; the first turn holds its subtitles, if any, as in the benchmark."""
    block = subtitle_block(item.cues)
    turns = []
    for number, question in enumerate(item.questions):
        lead = ["<video>", *([block] if block else [])] if number == 0 else []
        turns.append(Turn("human", "\n".join([*lead, question.prompt])))
        turns.append(Turn("gpt", question.response))
    return Dialog(item.video.video_id, "video", f"{item.video.video_id}.mp4", tuple(turns))


def _generator(config: DemoWorldConfig, part: str) -> random.Random:
    return random.Random(text_seed("demo world", config.world_seed, part))


def _draw_duration(rng: random.Random, mix: dict[str, float]) -> str:
    return rng.choices(list(mix), list(mix.values()))[0]


def _make_corpus(rng: random.Random, law: Law, size: int) -> tuple[DemoVideo, ...]:
    """Families of near duplicates: one video as drawn, and copies of which some differ in one attribute."""
    num_families = max(1, round(size * FAMILY_SHARE))
    families = [draw_video(rng, law, _draw_duration(rng, CORPUS_MIX)) for _ in range(num_families)]
    weights = itertools.accumulate((rank + 1) ** -FAMILY_EXPONENT for rank in range(num_families))
    copies = rng.choices(range(num_families), cum_weights=list(weights), k=size - num_families)
    members = [(family, families[family]) for family in range(num_families)]
    for family in copies:
        varied = rng.random() < VARIATION_SHARE
        members.append((family, vary_one_attribute(rng, law, families[family]) if varied else families[family]))
    rng.shuffle(members)
    return tuple(
        DemoVideo(f"demo-{number:05d}", spec, Rendition.draw(rng), family)
        for number, (family, spec) in enumerate(members)
    )


def _make_align(rng: random.Random, law: Law, size: int) -> tuple[DemoVideo, ...]:
    return tuple(
        DemoVideo(f"align-{number:04d}", draw_video(rng, law, "short"), Rendition.draw(rng)) for number in range(size)
    )


def _make_instruct(rng: random.Random, law: Law, config: DemoWorldConfig) -> tuple[AskedVideo, ...]:
    items = []
    for number in range(config.instruct_clips):
        spec = draw_video(rng, law, _draw_duration(rng, INSTRUCT_MIX))
        video = DemoVideo(f"instruct-{number:04d}", spec, Rendition.draw(rng))
        kinds = rng.sample(KINDS, config.turns_per_dialog)
        questions = tuple(ask(rng, law, spec, kind) for kind in kinds)
        cues = tuple(subtitles(rng, spec, FRAMES_PER_SCENE)) if number % 2 else ()
        items.append(AskedVideo(video, questions, cues))
    return tuple(items)


def _make_benchmark(rng: random.Random, config: DemoWorldConfig, seen: set[Scene]) -> tuple[AskedVideo, ...]:
    """Videos under the uniform law, equally many of each duration; the kinds of questions alternate."""
    items: list[AskedVideo] = []
    kinds = itertools.cycle(KINDS)
    for duration in DURATIONS:
        for _ in range(config.benchmark_videos):
            spec = draw_video(rng, UNIFORM, duration)
            while not seen.isdisjoint(spec.scenes):
                spec = draw_video(rng, UNIFORM, duration)
            video = DemoVideo(f"bench-{len(items):03d}", spec, Rendition.draw(rng))
            questions = tuple(
                ask(rng, UNIFORM, spec, kind) for kind in itertools.islice(kinds, config.questions_per_video)
            )
            items.append(AskedVideo(video, questions, tuple(subtitles(rng, spec, FRAMES_PER_SCENE))))
    return tuple(items)


def _make_held_out(rng: random.Random, law: Law, size: int, seen: set[Scene]) -> tuple[DemoVideo, ...]:
    """Videos under the law of the corpus without a scene that another set shows."""
    videos: list[DemoVideo] = []
    while len(videos) < size:
        spec = draw_video(rng, law, _draw_duration(rng, CORPUS_MIX))
        if seen.isdisjoint(spec.scenes):
            videos.append(DemoVideo(f"held-out-{len(videos):04d}", spec, Rendition.draw(rng)))
            seen |= set(spec.scenes)
    return tuple(videos)
