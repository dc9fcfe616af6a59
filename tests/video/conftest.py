"""The zoo of video files, encoded once per session."""

from pathlib import Path

import pytest

from tests.video.zoo import build_zoo


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build_zoo(tmp_path_factory.mktemp("zoo"))
