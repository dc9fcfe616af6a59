"""The cache of visual tokens: its size is logged before it is built; images, broken clips, full disks."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.errors import DataError
from sg.core.identity import identity
from sg.train.data.clips import CachedClips, DecodedClips, unreadable_clips
from sg.train.data.samples import Clip
from sg.train.data.visual_tokens import (
    announce_cache,
    clips_to_encode,
    fill_cache,
    readable_size,
)
from sg.video.writer import write_video
from tests.train.builders import WIDTH, inputs, tiny_student


def media(folder: Path) -> list[Clip]:
    """A video of 20 s at one frame per second, two images, and a file that is not a video."""
    noise = np.random.default_rng(0).integers(0, 255, (20, 64, 64, 3), dtype=np.uint8)
    write_video(folder / "video.mp4", noise, 1)
    for name in ("one.jpg", "two.PNG"):
        Image.fromarray(noise[0]).save(folder / name)
    (folder / "broken.mp4").write_bytes(b"not a video")
    return [Clip(name, folder / name) for name in ("video.mp4", "one.jpg", "two.PNG", "broken.mp4")]


def store(folder: Path, dtype: str = "float16") -> VisualTokenStore:
    return VisualTokenStore.create(
        folder / "store", identity("visual_tokens", settings={}, version=1), {"tokens": WIDTH}, dtype
    )


def tokens(cache: VisualTokenStore, key: str) -> torch.Tensor:
    return cache.tensors(key)["tokens"]


def test_the_size_of_the_cache_is_logged_before_it_is_built(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    student, processor, clips, cache = tiny_student(), inputs(), media(tmp_path), store(tmp_path)
    predicted = announce_cache(cache, clips, student.size, processor)
    assert "visual tokens: about 4.48 kB for 4 clips" in caplog.text
    problems = fill_cache(cache, clips, lambda: student, processor, "merged", decode_workers=0)
    assert problems.keys() == {"broken.mp4"}
    assert predicted == sum(tokens(cache, key).nbytes for key in cache) == (3 + 1 + 1) * 14 * WIDTH * 2
    assert cache.verify() == 3


def test_images_and_videos_are_the_same_cached_or_not(tmp_path: Path) -> None:
    student, processor, clips = tiny_student(), inputs(), media(tmp_path)[:3]
    cache = store(tmp_path, "float32")
    fill_cache(cache, clips, lambda: student, processor, "merged", decode_workers=0)
    cached, decoded = CachedClips(cache), DecodedClips(processor)
    for clip, frames in zip(clips, (20, 1, 1), strict=True):
        facts = decoded.facts(clip)
        assert (list(facts.frame_indices), facts.is_image) == (list(range(frames)), frames == 1)
        assert replace(cached.facts(clip), frame_indices=facts.frame_indices) == facts
    picture = torch.as_tensor(np.asarray(Image.open(clips[1].path).convert("RGB")).copy())
    assert torch.equal(decoded.read(clips[1]).tensors["pixels"], processor.pictures.pixel_values(picture.numpy()))


def test_a_replaced_file_is_encoded_again_and_a_missing_one_is_not(tmp_path: Path) -> None:
    student, processor, clips, cache = tiny_student(), inputs(), media(tmp_path)[:3], store(tmp_path)
    fill_cache(cache, clips, lambda: student, processor, "merged", decode_workers=0)
    before = tokens(cache, "video.mp4")
    noise = np.random.default_rng(1).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "video.mp4", noise, 1)
    (tmp_path / "one.jpg").unlink()

    assert [clip.key for clip in clips_to_encode(cache, [*clips, *clips])] == ["video.mp4"]
    fill_cache(cache, clips, lambda: student, processor, "merged", decode_workers=0)

    assert len(cache.facts("video.mp4").frame_indices) == 30
    assert not torch.equal(tokens(cache, "video.mp4"), before)
    assert clips_to_encode(VisualTokenStore(cache.folder), clips) == []


def test_processes_with_their_shares_fill_one_store(tmp_path: Path) -> None:
    student, processor, clips = tiny_student(), inputs(), media(tmp_path)[:3]
    shared, whole = store(tmp_path / "shared"), store(tmp_path / "whole")
    for rank in range(2):
        own = VisualTokenStore(shared.folder)
        fill_cache(own, clips[rank::2], lambda: student, processor, "merged", decode_workers=0)
    shared.refresh()
    fill_cache(whole, clips, lambda: student, processor, "merged", decode_workers=0)
    assert set(shared) == set(whole)
    assert all(torch.equal(tokens(shared, key), tokens(whole, key)) for key in whole)


def test_a_disk_that_is_too_small_is_reported_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int = 100
        used: int = 90
        free: int = 10

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage())
    with pytest.raises(DataError, match=r"will take about 4\.48 kB.*has 10 B free.*visual_token_cache=false"):
        announce_cache(store(tmp_path), media(tmp_path), tiny_student().size, inputs())


def test_without_the_cache_broken_media_are_found_before_training(tmp_path: Path) -> None:
    clips = media(tmp_path)
    (tmp_path / "one.jpg").write_bytes(b"not an image")
    assert unreadable_clips(clips).keys() == {"one.jpg", "broken.mp4"}


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (250e9, "250 GB"), (1.2e15, "1.2e+03 TB")])
def test_sizes_have_three_digits_and_a_unit(size: float, text: str) -> None:
    assert readable_size(size) == text
