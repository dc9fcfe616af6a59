"""A tiny untrained vision tower, and decoding in the process of the test."""

from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import SgError


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

    class Here:
        def __init__(self, function: Any, num_workers: int, timeout_s: float) -> None:
            self.function = function

        def __enter__(self) -> "Here":
            return self

        def __exit__(self, *_: object) -> None: ...

        def map(self, jobs: Any) -> Any:
            for job in jobs:
                names.append(job.record.video_id)
                try:
                    yield job, self.function(job)
                except SgError as error:
                    yield job, error

    monkeypatch.setattr("sg.video.workers.WorkerPool", Here)
    return names
