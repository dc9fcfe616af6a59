"""What counts as a video of a folder."""

from pathlib import Path

from sg.sources.files.disk import list_files


def test_leftovers_of_a_mac_and_of_killed_processes_are_not_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "sub/b.mp4", "._a.mp4", "sub/.b.mp4.host-1.tmp.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"video")
    assert [file.name for file in list_files(tmp_path).files] == ["a.mp4", "sub/b.mp4"]
