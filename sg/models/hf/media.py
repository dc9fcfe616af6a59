"""Frames as the processor of a model takes them: sampling, pixel values, and the text that stands for a clip."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers.video_utils import VideoMetadata

from sg.artefacts.visual_tokens.clips import ClipFacts
from sg.core.errors import ConfigError, ModelError, first_line
from sg.video.sampling import Timeline

TEXT_OUTPUTS = ("input_ids", "attention_mask", "text_replacement_offsets", "video_metadata")
"""Outputs of a processor that belong to the text, besides types of its tokens, or that nothing reads."""
PIXELS = "pixel"
"""Begins the names of outputs that only the vision tower reads."""
TRIED_CLIP = ClipFacts((0, 1), 1.0, 2, 64, 64)
"""A clip of two small frames, to try things out."""
TRIED_IMAGE = ClipFacts((0,), 0.0, 1, 64, 64)
_LONG = Timeline(10_000, 10.0)
_REMEMBERED_CLIPS = 4096
_T = TypeVar("_T")


@dataclass(frozen=True)
class ModelSampling:
    """The sampling of frames of a video processor of transformers, as a frame policy.

    Attributes:
        video_processor: of transformers; it computes the indices.
        settings: changed settings of it, such as `fps` or `num_frames`.
    """

    video_processor: Any
    settings: Mapping[str, Any]

    def __call__(self, timeline: Timeline, /) -> list[int]:
        """Indices of the frames; all frames of a video that has too few for the processor.

        Raises:
            ConfigError: the processor needs another setting to choose frames.
        """
        total, kind = timeline.num_frames, type(self.video_processor)
        settings: dict[str, Any] = {
            name: getattr(self.video_processor, name, None) for name in kind.valid_kwargs.__annotations__
        }
        settings |= self.settings
        is_open = settings.get("num_frames") is None and settings.get("fps") is None
        if is_open and len(self._sampled(_LONG, settings)) in (0, _LONG.num_frames):  # it has no sampling of its own
            raise ConfigError(
                "The video processor of the model names neither fps nor num_frames: set model.video.fps or "
                "model.video.num_frames."
            )
        if wanted := settings.get("num_frames"):
            settings["num_frames"] = min(wanted, total)
        return self._sampled(timeline, settings) or list(range(total))

    def _sampled(self, timeline: Timeline, settings: Mapping[str, Any]) -> list[int]:
        """Indices, or [] where the processor refuses the video or takes no frame of it."""
        tried = [settings]
        changed = [name for name in ("fps", "num_frames") if self.settings.get(name) is not None]
        if len(changed) == 1:  # most processors take one of the two, some need both
            tried.insert(0, {**settings, "fps": None, "num_frames": None, changed[0]: settings[changed[0]]})
        for chosen in tried:
            total = timeline.num_frames
            metadata = VideoMetadata(total_num_frames=total, fps=timeline.fps, duration=total / timeline.fps)
            sampler = copy.copy(self.video_processor)  # some read a value that is None from the processor itself
            sampler.fps, sampler.num_frames = chosen.get("fps"), chosen.get("num_frames")
            try:
                found = sampler.sample_frames(metadata, **chosen)
            except (ValueError, TypeError, ZeroDivisionError, RuntimeError):
                continue
            return [int(index) for index in found]
        return []


@dataclass(frozen=True, slots=True)
class ProcessedClip:
    """What a processor returns for a clip: the text in its place, and named tensors.

    The tensors have no dimension for clips where the processor gives them none.
    """

    text: str
    tensors: dict[str, Tensor]


@dataclass
class ClipProcessor:
    """Gives clips to the processor of a model, with everything it needs to sample nothing itself.

    Attributes:
        processor: of transformers.
        label: names the model in errors.
        video: changed settings of its video processor, such as `size` or `fps`.
        image: changed settings of its image processor.
    """

    processor: Any
    label: str
    video: Mapping[str, Any] = field(default_factory=dict)
    image: Mapping[str, Any] = field(default_factory=dict)
    _described: dict[tuple[Any, ...], ProcessedClip] = field(default_factory=dict, repr=False)
    _blank: dict[tuple[Any, ...], dict[str, Tensor]] = field(default_factory=dict, repr=False)
    _without_data: dict[bool, bool] = field(default_factory=dict, repr=False)

    @property
    def sampling(self) -> ModelSampling:
        """The model's sampling of frames."""
        return ModelSampling(self.processor.video_processor, self.video)

    def process(self, frames: Tensor, facts: ClipFacts) -> ProcessedClip:
        """The text and the tensors of `frames`, uint8 [T, 3, H, W]; ModelError if the processor refuses them."""
        kind = "image" if facts.is_image else "video"
        token = getattr(self.processor, f"{kind}_token", None)
        if token is None:
            raise ModelError(f"{self.label} has a processor without a token for a clip of the kind {kind}.")
        if facts.is_image:
            clip, settings = {"images": [frames[0]]}, {**self.image}
        else:
            # A model that merges frames in time needs at least so many: the last one is shown again.
            repeats = max(0, getattr(self.processor.video_processor, "temporal_patch_size", 1) - len(frames))
            facts = replace(facts, frame_indices=[*facts.frame_indices, *[facts.frame_indices[-1]] * repeats])
            clip = {"videos": [torch.cat([frames, *[frames[-1:]] * repeats])]}
            settings = {**self.video, "do_sample_frames": False, "video_metadata": [metadata(facts)]}
            settings["return_metadata"] = True  # some processors write time stamps from it, but do not ask for it
        try:
            output = self.processor(
                text=[token],
                return_tensors="pt",
                return_text_replacement_offsets=True,
                **clip,
                **{f"{kind}s_kwargs": {**settings, "input_data_format": "channels_first"}},
            )
        except (ValueError, TypeError, RuntimeError) as error:
            raise ModelError(f"{self.label} cannot process a clip of the kind {kind}: {first_line(error)}") from error
        if not output.get("text_replacement_offsets"):
            kind_of = type(self.processor).__name__
            raise ModelError(f"{self.label} has a processor ({kind_of}) that does not report the text of a clip.")
        replaced = output["text_replacement_offsets"][0]
        named = {name: value for name, value in output.items() if name not in TEXT_OUTPUTS}
        tensors = {name: value for name, value in named.items() if not name.endswith("type_ids")}
        return ProcessedClip(replaced[0]["replacement"], tensors)

    def describe(self, facts: ClipFacts) -> ProcessedClip:
        """The text of a clip, and the tensors besides pixel values, from its facts alone.

        The processor runs without data, on PyTorch's meta device, or on black frames if it reads values.

        Raises:
            ModelError: the text depends on what the frames show, and `facts` do not record it.
        """
        if facts.text:
            return ProcessedClip(facts.text, {})
        return _remembered(self._described, facts, self._from_shapes)

    def blank(self, facts: ClipFacts) -> dict[str, Tensor]:
        """The tensors of a clip from its facts alone, pixels without values; see `without_values`."""

        def make(facts: ClipFacts) -> dict[str, Tensor]:
            tensors = without_values(self.imagined(facts).tensors)
            if any(isinstance(value, Tensor) and value.is_meta for value in tensors.values()):
                tensors = without_values(self.process(_frames(facts, "cpu"), facts).tensors)
            return tensors

        return _remembered(self._blank, facts, make)

    @cached_property
    def needs_frames(self) -> bool:
        """Whether the text of a video depends on what its frames show, as where a processor drops still patches."""
        return not self._runs_without_data(False) and self._depends_on_data

    @cached_property
    def _depends_on_data(self) -> bool:
        frames = (_frames(TRIED_CLIP, "cpu"), _noise(TRIED_CLIP))
        return len({self.process(shown, TRIED_CLIP).text for shown in frames}) > 1

    def imagined(self, facts: ClipFacts) -> ProcessedClip:
        """A clip of these facts whose frames are not known; where they count, it is noise, of which all is kept."""
        if not facts.is_image and self.needs_frames:
            return self.process(_noise(facts), facts)
        return self.process(_frames(facts, "meta" if self._runs_without_data(facts.is_image) else "cpu"), facts)

    def _runs_without_data(self, is_image: bool) -> bool:
        if is_image not in self._without_data:
            facts = TRIED_IMAGE if is_image else TRIED_CLIP
            try:
                self.process(_frames(facts, "meta"), facts)
            except ModelError:
                self._without_data[is_image] = False
            else:
                self._without_data[is_image] = True
        return self._without_data[is_image]

    def _from_shapes(self, facts: ClipFacts) -> ProcessedClip:
        if not facts.is_image and self.needs_frames:
            raise ModelError(
                f"{self.label} chooses visual tokens by what the frames show, and the frames are not known here."
            )
        clip = self.imagined(facts)
        known = {
            name: value
            for name, value in clip.tensors.items()
            if not name.startswith(PIXELS) and not (isinstance(value, Tensor) and value.is_meta)
        }
        return ProcessedClip(clip.text, known)


def _remembered(known: dict[tuple[Any, ...], _T], facts: ClipFacts, make: Callable[[ClipFacts], _T]) -> _T:
    key = (tuple(facts.frame_indices), facts.fps, facts.num_frames, facts.width, facts.height)
    if key not in known:
        if len(known) >= _REMEMBERED_CLIPS:
            known.clear()
        known[key] = make(facts)
    return known[key]


def without_values(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with ones in place of pixel values, which take no memory.

    They are not zeros, because some models leave out images of zeros.
    """
    return {
        name: torch.ones((), dtype=value.dtype).expand(value.shape)
        if isinstance(value, Tensor) and value.is_floating_point() and name.startswith(PIXELS)
        else value
        for name, value in tensors.items()
    }


def _frames(facts: ClipFacts, device: str) -> Tensor:
    """Black frames [T, 3, H, W], or frames without data."""
    return torch.zeros(len(facts.frame_indices), 3, facts.height, facts.width, dtype=torch.uint8, device=device)


def _noise(facts: ClipFacts) -> Tensor:
    return _frames(facts, "cpu").random_(256, generator=torch.Generator().manual_seed(0))


def metadata(facts: ClipFacts) -> VideoMetadata:
    """The facts of a video as transformers' processors take them; they change it, so each call needs its own."""
    return VideoMetadata(
        total_num_frames=facts.num_frames,
        fps=facts.fps,
        width=facts.width,
        height=facts.height,
        duration=facts.num_frames / facts.fps,
        frames_indices=[int(index) for index in facts.frame_indices],
    )
