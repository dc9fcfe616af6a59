"""Bytes that 8 frames of a one-minute video transfer, and the time of local reads, in turns with code before addresses.

The same frames are then read of a file and of the same file in a tar archive on this disk, in turns.

git worktree add /tmp/before 55f3aab
python benchmarks/places/ranges.py --before /tmp/before
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


def make_video(path: Path, group_s: int) -> Path:
    """One minute of 320 x 180 at 25 frames per second, with a key frame every `group_s` seconds."""
    import numpy as np

    from sg.video.writer import write_video

    noise = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    frames = np.stack([np.roll(noise, 3 * number, axis=1) for number in range(1500)])
    return write_video(path, frames, 25, options={"preset": "ultrafast", "crf": "32", "g": str(25 * group_s)})


def transferred(folder: Path, group_s: int) -> None:
    """Print the bytes that are read of a video at an address."""
    from sg.core.places import store
    from sg.core.places.mirror import mirrored
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    video = make_video(folder / "bucket" / f"{group_s}.mp4", group_s)
    sizes: list[int] = []
    read = store.Store.read
    store.Store.read = lambda *words: sizes.append(len(data := read(*words))) or data  # type: ignore[method-assign]
    far = mirrored(f"file://{folder}/bucket", "data.videos", copied=False)
    indices = read_frames(far / video.name, MiddleOfSegments(8)).indices
    store.Store.read = read  # type: ignore[method-assign]
    held = bytes_of_groups(video, indices)
    size = video.stat().st_size
    print(
        f"key frame every {group_s:>2} s: {sum(sizes):>9,} bytes in {len(sizes)} requests, {sum(sizes) / held:.3f} of "
        f"the groups of pictures, {sum(sizes) / size:.3f} of the file"
    )


def bytes_of_groups(path: Path, indices: tuple[int, ...]) -> int:
    """Bytes of the groups of pictures that hold these frames."""
    import av

    with av.open(str(path)) as video:
        entries = [(entry.is_keyframe, entry.size) for entry in video.streams.video[0].index_entries]
    keys = [place for place, (is_key, _) in enumerate(entries) if is_key]
    ends = dict(zip(keys, [*keys[1:], len(entries)], strict=True))
    wanted = {max(key for key in keys if key <= index) for index in indices}
    return sum(size for key in wanted for _, size in entries[key : ends[key]])


def local_reads(path: Path, count: int = 60) -> float:
    """CPU seconds of `count` reads of 8 frames."""
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    began = time.process_time()
    for _ in range(count):
        read_frames(path, MiddleOfSegments(8))
    return time.process_time() - began


def in_archive(video: Path) -> Path:
    """The path of the same video in a tar archive beside it."""
    import tarfile

    from sg.core.places.ranges import member_path

    with tarfile.open(video.with_suffix(".tar"), "w") as tar:
        tar.add(video, video.name)
    with tarfile.open(video.with_suffix(".tar")) as tar:
        member = tar.getmembers()[0]
    return Path(member_path(str(video.with_suffix(".tar")), member.offset_data, member.size, video.name))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--read", type=Path, help="only read this video and print the CPU seconds")
    options = parser.parse_args()
    if options.read:
        local_reads(options.read, 2)
        print(local_reads(options.read))
        return
    with tempfile.TemporaryDirectory() as name:
        os.environ["SG_CACHE"] = f"{name}/cache"
        for group_s in (1, 2, 10):
            transferred(Path(name), group_s)
        plain = Path(name, "bucket", "2.mp4")
        inside = in_archive(plain)
        pairs = [(local_reads(plain), local_reads(inside)) for _ in range(3)]
        of_file, of_archive = (min(seconds) for seconds in zip(*pairs, strict=True))
        print(
            f"60 reads in a tar archive: {of_archive:.2f} CPU s, {of_file:.2f} of the plain file "
            f"({of_archive / of_file:.3f}), load {os.getloadavg()[0]:.0f}"
        )
        if options.before:
            taken: dict[Path, list[float]] = {options.before: [], HERE: []}
            for _ in range(3):
                for code, seconds in taken.items():
                    words = [sys.executable, __file__, "--read", f"{name}/bucket/2.mp4"]
                    environment = os.environ | {"PYTHONPATH": str(code)}
                    done = subprocess.run(words, env=environment, cwd=code, capture_output=True, text=True, check=True)
                    seconds.append(float(done.stdout))
            before, now = (min(seconds) for seconds in taken.values())
            print(f"60 reads: {now:.2f} CPU s, {before:.2f} before ({now / before:.3f}), load {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    sys.path.insert(0, os.environ.get("PYTHONPATH", str(HERE)))
    main()
