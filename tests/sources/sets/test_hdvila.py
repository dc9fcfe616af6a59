"""HD-VILA in its usual layouts: every row is a clip, a window or a whole video, and nothing is guessed."""

from pathlib import Path

import pytest

from sg.core.errors import ConfigError
from sg.sources.sets.hdvila import HdVilaDataConfig
from tests.sources.sets.published import WriteFile, lines, report, scanned, settings

pytestmark = pytest.mark.usefixtures("no_processes")


def test_hdvila_rows_are_clips_windows_or_whole_videos(tmp_path: Path, write_file: WriteFile) -> None:
    videos = tmp_path / "videos"
    name = "-bcdefghijk"
    spans = [("00:00:00.000", "00:00:01.000"), ("00:00:01.000", "00:00:01.500"), ("00:00:10.000", "00:00:12.000")]
    clips = [{"clip_id": f"{name}.{number}.mp4", "span": list(span)} for number, span in enumerate(spans)]
    for number in range(2):
        write_file(videos / "video_clips" / name / f"{name}.{number}.mp4")
    write_file(videos / "download_videos" / f"{name}.mp4")
    bad = {"video_id": "llllllllllm", "clip": [{"clip_id": "../../x.mp4", "span": ["1", "2"]}, {"span": [5]}, None]}
    lines(
        tmp_path / "notes" / "part0.jsonl",
        repr({"video_id": name, "url": "x", "clip": clips}),
        bad,
        "{'a': __import__('os')}",
    )

    by_clip = scanned(settings(HdVilaDataConfig, tmp_path))
    assert {video_id: row.path.rsplit("/")[-1] for video_id, row in by_clip.items()} == {
        f"hdvila-{name}.0": f"{name}.0.mp4", f"hdvila-{name}.1": f"{name}.1.mp4",
    }  # fmt: skip
    assert report(tmp_path)["counts"] == {"bad_record": 4, "extra": 1, "missing": 1}
    by_video = scanned(settings(HdVilaDataConfig, tmp_path, unit="video"))
    assert list(by_video) == [f"hdvila-{name}"]

    long_videos = str(videos / "download_videos")
    windows = settings(
        HdVilaDataConfig, tmp_path, unit="window", window_s=5, long_videos=long_videos, videos=str(tmp_path / "cuts")
    )
    by_window = scanned(windows)
    assert [(video_id, row.num_frames) for video_id, row in by_window.items()] == [(f"hdvila-{name}@0-1500", 3)]
    assert report(tmp_path)["counts"] == {"bad_record": 4, "missing": 1, "not_cut": 1}
    with pytest.raises(ConfigError, match="should be one of clip, window, video"):
        settings(HdVilaDataConfig, tmp_path, unit="minute")
