"""Settings of the whole suite: one thread, no network services, W&B offline."""

import os
import shutil
from collections.abc import Iterator

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

import sg  # noqa: F401  # before any import of transformers, which imports torchvision
from tests.browser import Browser, chromium
from tests.skips import pytest_sessionfinish, pytest_terminal_summary  # noqa: F401  # hooks of pytest

torch.set_num_threads(1)

LONGEST_FILES = ("test_sweep_end_to_end.py", "test_readme.py", "test_embed.py", "test_own_videos.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no worker starts a long one at the end."""
    order = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_command_line_of_another_test() -> Iterator[None]:
    """A command that a test calls in this process leaves its command line in Hydra's singleton."""
    yield
    HydraConfig.instance().cfg = None
