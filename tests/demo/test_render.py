"""Rendering is reproducible, and every value is visible in every frame after the codec."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from sg.demo.render import render
from sg.demo.world import ACTIONS, COLOURS, SHAPES, TEXTURES, Actor, Rendition, Scene, VideoSpec
from sg.video.writer import write_video

TAKE = Rendition(seed=1, shift_x=0.0, shift_y=0.0, brightness=1.0, size=1.0, phase=0.3, grain=1.0)


def _one(texture: str = "plain", colour: str = "red", shape: str = "ball", action: str = "rests") -> VideoSpec:
    return VideoSpec((Scene("meadow", (Actor(texture, colour, shape, action, "topleft"),)),))


def _decoded(spec: VideoSpec, path: Path) -> np.ndarray:
    import av

    write_video(path, render(spec, TAKE), fps=1.0)
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.float32)


def test_a_scene_is_eight_frames_of_64_pixels() -> None:
    frames = render(_one(), TAKE)
    assert frames.shape == (8, 64, 64, 3) and frames.dtype == np.uint8
    assert render(VideoSpec(_one().scenes * 4), TAKE).shape == (32, 64, 64, 3)


def test_the_same_spec_and_take_give_the_same_bytes() -> None:
    assert (render(_one(action="shakes"), TAKE) == render(_one(action="shakes"), TAKE)).all()


def test_an_actor_stays_in_its_cell() -> None:
    with_actor, other_cells = render(_one(action="glows", shape="plank"), TAKE), render(_one(colour="blue"), TAKE)
    assert (with_actor[:, :, 32:] == other_cells[:, :, 32:]).all()
    assert (with_actor[:, 32:] == other_cells[:, 32:]).all()


@pytest.mark.parametrize(
    ("name", "values"), [("action", ACTIONS), ("texture", TEXTURES), ("shape", SHAPES), ("colour", COLOURS)]
)
def test_any_two_values_differ_in_every_frame_after_the_codec(
    name: str, values: tuple[str, ...], tmp_path: Path
) -> None:
    videos = {value: _decoded(_one(**{name: value}), tmp_path / "video.mp4")[:, :32, :32] for value in values}
    for first, second in itertools.combinations(values, 2):
        difference = np.abs(videos[first] - videos[second]).mean(axis=(1, 2, 3))
        # Two videos of the same actor differ by less than 1.5 grey levels per pixel (codec and grain).
        assert (difference > 3.0).all(), (first, second, difference)
