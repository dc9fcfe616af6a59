"""Frames reach the model as its processor would prepare them, and the processor samples nothing again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from sg.artefacts.visual_tokens.clips import ClipFacts
from sg.core.errors import ConfigError, ModelError
from sg.models.hf.media import ModelSampling
from sg.video.reader import read_frames
from sg.video.sampling import Timeline
from sg.video.writer import write_video
from tests.models.hf.families import FAMILIES
from tests.models.hf.samples import DIALOGS, FPS, NUM_FRAMES, SIZE, clip_of, frames_of, plain_inputs, student_of


@pytest.mark.parametrize("name", FAMILIES)
def test_tensors_are_those_of_transformers_alone(name: str) -> None:
    student = student_of(name)
    for count, texts in DIALOGS:
        if count:
            expected = plain_inputs(student.processor.clips.processor, texts, count)
            found = clip_of(student.processor, count).tensors
            for key in set(found) - {"text"}:
                torch.testing.assert_close(torch.as_tensor(found[key]), torch.as_tensor(expected[key]), rtol=0, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_text_of_a_clip_follows_from_its_facts(name: str) -> None:
    student = student_of(name)
    for count in (1, 2, 6):
        facts = clip_of(student.processor, count).facts
        frames = torch.from_numpy(frames_of(count)).permute(0, 3, 1, 2)
        processed = student.processor.clips.process(frames, facts)
        described = student.processor.clips.describe(facts)
        assert described.text == processed.text
        for key, value in described.tensors.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(processed.tensors[key]))


def test_a_processor_that_drops_still_patches_needs_the_frames() -> None:
    student = student_of("video_llama_3")
    assert student.processor.clips.needs_frames
    moving = clip_of(student.processor, 6)
    assert moving.facts.text.count("<|video_pad|>") == int(moving.tensors["video_compression_mask"].sum()) < 36
    with pytest.raises(ModelError, match="by what the frames show"):
        student.processor.clips.describe(replace(moving.facts, text=""))
    assert not student_of("video_llama_3", video={"use_token_compression": False}).processor.clips.needs_frames
    assert not any(student_of(name).processor.clips.needs_frames for name in FAMILIES if name != "video_llama_3")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_frames_of_a_file_are_those_that_the_processor_samples_itself(name: str, tmp_path: Path) -> None:
    student = student_of(name)
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (37, 48, 64, 3), dtype=np.uint8), fps=8.0)
    every = read_frames(path, lambda timeline: list(range(timeline.num_frames)))
    chosen = read_frames(path, student.processor.frames)
    facts = ClipFacts(tuple(chosen.indices), chosen.fps, chosen.num_frames, 64, 48)
    processor = student.processor.clips.processor
    whole = ClipFacts(tuple(range(every.num_frames)), every.fps, every.num_frames, 64, 48)
    from sg.models.hf.media import metadata

    given = metadata(whole)
    expected = processor(
        text=[processor.video_token],
        videos=[torch.from_numpy(every.frames).permute(0, 3, 1, 2)],
        videos_kwargs={"do_sample_frames": True, "video_metadata": [given]},
        return_tensors="pt",
    )
    found = student.processor.pixels(chosen.frames, facts)
    for key in set(found) - {"text"}:
        assert torch.equal(torch.as_tensor(found[key]), torch.as_tensor(expected[key])), key


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 60, 1000])
def test_videos_of_any_length_have_frames(name: str, num_frames: int) -> None:
    student = student_of(name)
    indices = student.processor.frames(Timeline(num_frames, FPS))
    assert indices == sorted(indices) and indices[0] >= 0 and indices[-1] < num_frames
    facts = ClipFacts(tuple(indices), FPS, num_frames, *SIZE)
    frames = frames_of(len(indices)) if len(indices) > 1 else frames_of(2)[:1]
    assert student.processor.pixels(frames, facts)


def test_settings_change_the_sampling() -> None:
    timeline = Timeline(NUM_FRAMES, FPS)
    assert len(student_of("qwen3_vl", video={"fps": 1}).processor.frames(timeline)) == 6
    assert len(student_of("qwen3_vl", video={"num_frames": 5}).processor.frames(timeline)) == 5
    assert len(student_of("internvl", video={"fps": 1}).processor.frames(timeline)) == 6
    assert len(student_of("smolvlm", video={"fps": 0.5}).processor.frames(timeline)) == 3


def test_a_processor_can_have_a_sampling_of_its_own() -> None:
    sampling = ModelSampling(transformers.MiniCPMV4_6VideoProcessor(max_num_frames=8), {})
    assert [len(sampling(Timeline(frames, FPS))) for frames in (5, NUM_FRAMES, 10_000)] == [1, 6, 8]


def test_a_processor_that_does_not_report_the_text_of_a_clip_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of("internvl")
    kind = type(student.processor.clips.processor)
    own = kind.__call__

    def silent(self: object, **settings: object) -> dict[str, object]:
        return {name: value for name, value in own(self, **settings).items() if name != "text_replacement_offsets"}

    monkeypatch.setattr(kind, "__call__", silent)
    with pytest.raises(ModelError, match=r"a processor \(InternVLProcessor\) that does not report the text"):
        clip_of(student.processor, 4)


def test_a_processor_without_a_sampling_needs_a_setting() -> None:
    _, processor = FAMILIES["llava_onevision"].build()
    processor.video_processor.num_frames = None
    with pytest.raises(ConfigError, match=r"model\.video\.fps or model\.video\.num_frames"):
        ModelSampling(processor.video_processor, {})(Timeline(10, 1.0))
