"""Sampling returns the frame indices of the published pipelines."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.core.errors import ConfigError, DataError
from sg.video.sampling import AllFrames, MiddleOfSegments, OneFps, Timeline, at_fps, middle_of_segments, one_fps

GOLDENS = Path(__file__).parents[1] / "goldens"
INTERNVIDEO2 = json.loads((GOLDENS / "internvideo2" / "sampling.json").read_text())
CHAT_UNIVI = json.loads((GOLDENS / "chat_univi" / "media" / "frame_sampling.json").read_text())


@pytest.mark.parametrize("case", INTERNVIDEO2["segments"])
def test_middle_of_segments_equals_the_published_pipeline(case: dict[str, Any]) -> None:
    assert middle_of_segments(case["num_frames"], case["total"]) == case["middle"]


@pytest.mark.parametrize("case", INTERNVIDEO2["fps"])
def test_fps_sampling_equals_the_published_pipeline(case: dict[str, Any]) -> None:
    limit = case["max_num_frames"] if case["max_num_frames"] > 0 else None
    chosen = at_fps(case["total"], case["input_fps"], float(case["mode"].removeprefix("fps")), limit)
    assert chosen == (case["indices"] or [case["total"] // 2])  # the published code returns no frame


@pytest.mark.parametrize("case", [case for case in CHAT_UNIVI if "positions" in case])
def test_one_fps_equals_the_reference(case: dict[str, Any]) -> None:
    chosen = one_fps(
        *(case[key] for key in ("total_frames", "fps", "max_frames", "target_fps")),
        start_s=case["start"],
        end_s=case["end"],
    )
    assert chosen == case["positions"]


def test_videos_on_which_the_reference_fails_are_sampled_or_refused() -> None:
    assert one_fps(100, 0.4, max_frames=200) == list(range(100))
    assert one_fps(8, 1.0) == list(range(8))
    with pytest.raises(DataError, match=r"starts at 20 s, but the video of 300 frames ends at 10\.0 s"):
        one_fps(300, 30.0, start_s=20, end_s=30)
    with pytest.raises(DataError, match="0 frames"):
        middle_of_segments(4, 0)


@given(st.integers(1, 64), st.integers(1, 10_000))
def test_segments_return_exactly_the_count_in_ascending_order(count: int, num_frames: int) -> None:
    chosen = middle_of_segments(count, num_frames)
    assert len(chosen) == count
    assert chosen == sorted(chosen)
    assert 0 <= chosen[0] <= chosen[-1] < num_frames
    assert len(set(chosen)) == min(count, num_frames)


@given(st.integers(1, 5_000), st.floats(0.1, 240), st.integers(1, 100), st.floats(0.1, 30))
def test_rates_return_at_most_the_limit_in_ascending_order(
    num_frames: int, fps: float, limit: int, target: float
) -> None:
    for chosen in (one_fps(num_frames, fps, limit, target), at_fps(num_frames, fps, target, limit)):
        assert 1 <= len(chosen) <= limit
        assert chosen == sorted(chosen)
        assert 0 <= chosen[0] <= chosen[-1] < num_frames


def test_policies_are_the_functions_with_their_settings() -> None:
    video = Timeline(250, 25.0)
    assert MiddleOfSegments(8)(video) == middle_of_segments(8, 250)
    assert OneFps(4)(video) == one_fps(250, 25.0, 4)
    assert AllFrames()(video) == list(range(250))


def test_sampling_by_time_follows_the_times_of_a_variable_frame_rate() -> None:
    # Four frames in quick succession, then two that are shown for two seconds each.
    video = Timeline(6, 1.0, times_s=(0.0, 0.25, 0.5, 0.75, 1.0, 3.0))
    assert MiddleOfSegments(3)(video) == [0, 2, 4]
    assert MiddleOfSegments(3, by_time=True)(video) == [2, 4, 5]
    assert MiddleOfSegments(2, by_time=True)(Timeline(6, 1.0)) == [1, 4]  # without times: by index


@pytest.mark.parametrize("make", [lambda: MiddleOfSegments(0), lambda: OneFps(0), lambda: OneFps(target_fps=0.0)])
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="cannot sample"):
        make()
