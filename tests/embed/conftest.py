"""A tiny untrained vision tower, and decoding in the process of the test."""

from pathlib import Path
from typing import Any

import pytest

from sg.video.workers import WorkerPool


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("tower")
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=32, patch_size=16)).save_pretrained(folder)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Decode in this process, because starting another takes longer; returns the ids of the videos that were read."""
    names: list[str] = []

    def here(function: Any, _: int, timeout_s: float) -> Any:
        def read(record: Any) -> Any:
            names.append(record.video_id)
            return function(record)

        return WorkerPool(read, 0, timeout_s)

    monkeypatch.setattr("sg.video.workers.WorkerPool", here)
    return names
