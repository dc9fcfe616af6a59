from __future__ import annotations

import numpy as np
import pytest
import torch

from sg.core.errors import ConfigError
from sg.models.chat_univi.processor import ChatUniViProcessor
from tests.models.chat_univi.goldens import read_json, tensors

INFO = read_json("media/image_processing.json")


@pytest.mark.parametrize("case", INFO["cases"])
@pytest.mark.parametrize(("aspect", "key"), [("square", "crop"), ("pad", "pad")])
def test_pixels_equal_the_reference_to_the_last_bit(case: str, aspect: str, key: str) -> None:
    golden = tensors("media/image_processing.safetensors")
    processor = ChatUniViProcessor(size=INFO["size"], aspect=aspect)
    pixels = processor.pixel_values(golden[f"{case}.image"].numpy())
    assert torch.equal(pixels[0], golden[f"{case}.{key}"].reshape(pixels[0].shape))


def test_frames_of_a_clip_are_processed_one_by_one() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    processor = ChatUniViProcessor(size=28)
    together = processor.pixel_values(frames)
    assert together.shape == (3, 3, 28, 28)
    assert torch.equal(together[1:2], processor.pixel_values(frames[1]))


def test_an_unknown_aspect_is_refused() -> None:
    with pytest.raises(ConfigError, match="square, pad"):
        ChatUniViProcessor(aspect="stretch")
