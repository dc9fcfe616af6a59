"""Every usable video gets a vector, the same bytes however often the run was interrupted; the others get a reason."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.vectors import read_vectors, vector_parts
from sg.core.errors import ConfigError, DataError, MissingInputError, ModelError
from sg.core.files import read_json
from sg.core.identity import code_version, recorded
from sg.embed import batches
from sg.embed.embedders.demo import DemoEmbedder
from sg.embed.registry import EMBEDDING_VERSION
from sg.embed.run import embed_videos
from sg.embed.settings import EmbedderConfig
from sg.embed.video_files import frame_settings, read_video
from sg.sources.config import DataConfig
from tests.embed.builders import contents, embedder, make_world


def test_usable_videos_get_unit_vectors_and_the_folder_records_their_origin(tmp_path: Path, tower: Path) -> None:
    data = make_world(tmp_path, "abcdef", broken="corrupt")

    folder = embed_videos(data, embedder(tower))

    vectors = read_vectors(folder)
    assert folder == tmp_path / "embeddings" / "demo"
    assert vectors.video_ids == list("abcdef")
    assert vectors.matrix.shape == (6, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors.matrix, axis=1), 1, atol=2e-3)  # stored as float16
    wanted = {"embedder": "demo", "dim": 32, "videos": 6, "left_out": 0, "num_frames": 4, "image_size": 32}
    assert vectors.info.items() >= wanted.items()
    assert {"revision", "resize", "sampling", "reader", "versions", "config"} <= set(vectors.info)
    assert vectors.info["made_by"] == vectors.info["fingerprint"] == recorded(vectors.info).name
    assert vectors.info["code"] == code_version()


def test_a_vector_depends_on_the_frames_of_its_own_video(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "abcde")
    config = embedder(tower)
    vectors = read_vectors(embed_videos(data, config))
    from sg.artefacts.manifest import read_manifest

    record = next(record for record in read_manifest(data.manifest_path).records() if record.video_id == "d")
    frames = read_video(frame_settings(Path(data.videos), config), record).frames

    alone = DemoEmbedder(config).embed(frames[None])

    np.testing.assert_allclose(vectors.matrix[3], alone[0], atol=1e-3)  # float16, measured 2e-4
    assert np.abs(vectors.matrix[2] - alone[0]).max() > 0.01


def test_videos_that_cannot_be_read_are_left_out_with_their_reasons(
    tmp_path: Path, tower: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = make_world(tmp_path, "abcde")
    (tmp_path / "videos" / "b.mp4").write_bytes(b"")
    (tmp_path / "videos" / "e.mp4").unlink()
    (tmp_path / "videos" / "c.mp4").unlink()
    (tmp_path / "videos" / "c.mp4").symlink_to("/etc/passwd")

    with caplog.at_level(logging.INFO):
        folder = embed_videos(data, embedder(tower))

    assert read_vectors(folder).video_ids == ["a", "d"]
    quarantine = read_json(folder / "quarantine.json")["videos"]
    assert {row["video_id"]: row["status"] for row in quarantine} == {"b": "empty", "c": "unreadable", "e": "missing"}
    assert all(row["reason"] for row in quarantine)
    assert "vectors: 2 videos; left out: 1 empty, 1 unreadable, 1 missing" in caplog.text


def test_a_finished_run_is_reused(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "abcde")
    folder = embed_videos(data, embedder(tower))
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    decoded.clear()

    embed_videos(data, embedder(tower, batch_size=3, workers=2, timeout_s=5.0))

    assert decoded == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_a_failed_run_resumes_at_its_part_and_writes_the_same_bytes(
    tmp_path: Path, tower: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_world(tmp_path, "abcdefghij")
    whole = contents(embed_videos(data, embedder(tower), out_path=tmp_path / "whole"))
    out = tmp_path / "again"
    write_part, written = batches.write_part, []

    def fail_at_the_second(*arguments: Any) -> None:
        if len(written) == 1:
            raise OSError(28, "No space left on device")
        write_part(*arguments)
        written.append(arguments)

    monkeypatch.setattr(batches, "write_part", fail_at_the_second)
    with pytest.raises(DataError, match=r"No space left on device.*resumes where it stopped"):
        embed_videos(data, embedder(tower), out_path=out)
    with pytest.raises(MissingInputError):
        read_vectors(out)
    monkeypatch.setattr(batches, "write_part", write_part)
    (out / ".part-00001.parquet.1.tmp.parquet").touch()  # as a kill leaves it
    decoded.clear()

    embed_videos(data, embedder(tower), out_path=out)

    assert decoded == list("efghij")
    assert contents(out) == whole


def test_only_the_parts_of_new_or_replaced_files_are_made_again(
    tmp_path: Path, tower: Path, decoded: list[str]
) -> None:
    make_world(tmp_path, "abcdefgh")
    data = make_world(tmp_path, "abcdefghij")
    folder = embed_videos(data, embedder(tower))
    before = read_vectors(folder).matrix
    decoded.clear()
    (tmp_path / "videos" / "f.mp4").write_bytes((tmp_path / "videos" / "a.mp4").read_bytes() + b"\0" * 8)

    after = read_vectors(embed_videos(data, embedder(tower))).matrix

    assert decoded == list("efgh")
    np.testing.assert_array_equal(after[5], after[0])
    np.testing.assert_array_equal(np.delete(after, 5, 0), np.delete(before, 5, 0))


def test_a_moved_or_copied_folder_of_videos_is_not_embedded_again(
    tmp_path: Path, tower: Path, decoded: list[str]
) -> None:
    data = make_world(tmp_path, "abcde")
    folder = embed_videos(data, embedder(tower))
    before = contents(folder)
    decoded.clear()

    moved = (tmp_path / "videos").rename(tmp_path / "elsewhere")
    embed_videos(replace(data, videos=str(moved)), embedder(tower))
    copied = shutil.copytree(moved, tmp_path / "copied", copy_function=shutil.copyfile)  # gives new times
    embed_videos(replace(data, videos=str(copied)), embedder(tower))

    assert decoded == []
    assert contents(folder) == before


def test_a_raised_version_embeds_again(
    tmp_path: Path, tower: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_world(tmp_path, "abcde")
    embed_videos(data, embedder(tower))
    decoded.clear()
    monkeypatch.setattr("sg.embed.registry.EMBEDDING_VERSION", EMBEDDING_VERSION + 1)

    embed_videos(data, embedder(tower))

    assert decoded == list("abcde")


def test_other_settings_make_everything_again_and_leave_nothing_behind(
    tmp_path: Path, tower: Path, decoded: list[str]
) -> None:
    data = make_world(tmp_path, "abcdefghij")
    folder = embed_videos(data, embedder(tower))
    assert len(vector_parts(folder)) == 3
    decoded.clear()

    embed_videos(data, embedder(tower, num_frames=2, rows_per_part=10))

    assert decoded == list("abcdefghij")
    assert [path.name for path in vector_parts(folder)] == ["part-00000.parquet"]
    assert read_vectors(folder).info["num_frames"] == 2


def test_missing_inputs_and_impossible_settings_are_reported(tmp_path: Path, tower: Path, decoded: list[str]) -> None:
    data = make_world(tmp_path, "ab")
    with pytest.raises(MissingInputError, match=r"no vision tower .*python -m sg\.demo\.pretrain"):
        embed_videos(data, embedder(tmp_path / "none"))
    with pytest.raises(MissingInputError, match=r"no folder of videos .*data\.videos=DIR"):
        embed_videos(DataConfig(name="mine", dir=data.dir, videos=str(tmp_path / "none")), embedder(tower))
    with pytest.raises(ModelError, match="takes 32 pixels a side"):
        embed_videos(data, embedder(tower, image_size=64))
    for path in (tmp_path / "videos").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"None of 2 videos could be embedded: a\.mp4: the file is empty"):
        embed_videos(data, embedder(tower))
    with pytest.raises(ConfigError, match="EmbedderConfig is not registered"):
        embed_videos(data, EmbedderConfig(name="other"))
    for wrong in ({"num_frames": 0}, {"workers": -1}, {"timeout_s": 0.0}, {"reader": "opencv"}, {"name": "a/b"}):
        with pytest.raises(ConfigError):
            embedder(tower, **wrong)


@pytest.mark.slow
def test_killing_the_run_at_any_moment_and_repeating_it_gives_the_same_vectors(tmp_path: Path, tower: Path) -> None:
    data = make_world(tmp_path, "abcdefghijklmnopqrstuvwxyz")
    whole = contents(embed_videos(data, embedder(tower), out_path=tmp_path / "whole"))
    out = tmp_path / "killed"
    program = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "if __name__ == '__main__':\n"
        "    from tests.embed.builders import embedder\n    from sg.embed.run import embed_videos\n"
        "    from sg.sources.config import DataConfig\n"
        "    data = DataConfig(name='mine', dir=sys.argv[2], videos=sys.argv[2] + '/videos')\n"
        "    embed_videos(data, embedder(Path(sys.argv[3])), out_path=Path(sys.argv[4]))\n"
    )
    script = tmp_path / "run.py"
    script.write_text(program)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(script), str(root), data.dir, str(tower), str(out)]
    for parts_before_the_kill in (1, 4):
        child = subprocess.Popen(command, start_new_session=True)
        while child.poll() is None and len(list(out.glob("part-*.parquet"))) < parts_before_the_kill:
            time.sleep(0.02)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert subprocess.run(command, check=False).returncode == 0
    assert contents(out) == whole
