"""torchcodec returns the right frames or refuses the file; an error in loading it is one sentence.

Its wheel contains no FFmpeg. PyAV's wheel does, under other names, so that a folder of links provides the libraries.
"""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ConfigError, SgError
from sg.video.frames import UnreadableVideoError
from sg.video.reader import read_frames
from sg.video.sampling import AllFrames, MiddleOfSegments
from sg.video.torchcodec_reader import decode_with_torchcodec
from sg.video.workers import KillableWorker
from tests.video.test_file_zoo import DECORD_REFUSES, numbers, zeroed
from tests.video.zoo import NUM_FRAMES, VIDEOS, cut_by_copy, make_video

REFUSES = DECORD_REFUSES - {"av1.mp4", "narrow.mp4"}


def link_ffmpeg(folder: Path) -> Path:
    """Make links to the libraries in PyAV's wheel, with the names of FFmpeg's own."""
    import av

    folder.mkdir()
    libraries = Path(av.__file__).parents[1] / "av.libs"
    for path in libraries.glob("lib*.so*"):
        if match := re.fullmatch(r"(lib(?:av|sw)\w+)-\w+\.so\.(\d+)\.[\d.]+", path.name):
            (folder / f"{match[1]}.so.{match[2]}").symlink_to(path)
    return libraries


def read_all(jobs: list[tuple[str, Path, Any]]) -> dict[str, tuple[Any, Any]]:
    """Run in a worker: the shown and the wanted numbers of every video, or the class and the text of an error."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, path, wanted in jobs:
        try:
            frames = read_frames(path, wanted, "torchcodec")
            found[name] = numbers(frames), list(frames.indices)
        except SgError as error:
            found[name] = getattr(error, "status", type(error).__name__), str(error)
    return found


@pytest.mark.slow
def test_every_file_of_the_zoo_is_read_correctly_or_refused(
    videos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("torchcodec") is None:
        pytest.skip("torchcodec is not installed")
    libraries = link_ffmpeg(tmp_path / "ffmpeg")
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join([str(tmp_path / "ffmpeg"), str(libraries)]))
    jobs = [
        (f"{name}: {wanted}", videos[name], wanted)
        for name in VIDEOS
        for wanted in (AllFrames(), MiddleOfSegments(8), [NUM_FRAMES - 1, 0, 31, 31, 7])
    ]
    (tmp_path / "short.mp4").write_bytes(videos["faststart.mp4"].read_bytes()[:-3000])
    bad = {
        "cut": cut_by_copy(videos["b_frames.mp4"], tmp_path / "cut.mp4", start=17),
        "zeroed": zeroed(videos["b_frames.mp4"], tmp_path / "zeroed.mp4", 0.4),
        "short": tmp_path / "short.mp4",
    }
    others = {"one": make_video(tmp_path / "one.mp4", 1), "turned": make_video(tmp_path / "turned.mp4", 3, rotation=90)}
    jobs += [(name, path, [0]) for name, path in {**bad, **others}.items()]

    worker = KillableWorker()
    found = worker.call(read_all, jobs, timeout_s=300)
    worker.close()

    if "cannot be loaded" in str(found["one"][1]):
        pytest.skip("torchcodec cannot be loaded with the FFmpeg of PyAV")
    for name, (shown, asked) in found.items():
        video = name.split(":")[0]
        if video in REFUSES or video in bad:
            assert shown in ("unsupported", "corrupt"), (name, shown, asked)
        elif video != "turned":
            assert shown == asked, name
    assert found["one"] == ([0], [0])


def test_a_torchcodec_that_is_missing_or_cannot_be_loaded_is_one_sentence(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    with pytest.raises(ConfigError, match=r"not installed: `pip install -e '\.\[torchcodec\]'`"):
        decode_with_torchcodec(videos["b_frames.mp4"], [0], NUM_FRAMES)


def test_torchcodec_refuses_files_by_their_packets_before_it_is_loaded(videos: dict[str, Path]) -> None:
    with pytest.raises(UnreadableVideoError, match="refused for torchcodec"):
        read_frames(videos["h264.ts"], [0], "torchcodec")
