"""A forgotten video leaves every artefact of its data at once, and the command lists what holds it still."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.forgetting import forget_vectors
from sg.artefacts.manifest import FORGOTTEN, read_manifest, write_manifest
from sg.artefacts.predictions import Prediction
from sg.artefacts.result import RunResult, StageResult, write_result
from sg.artefacts.vectors import read_vectors, write_vectors_info, write_vectors_part
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.caption.actions import act
from sg.caption.config import CaptionConfig
from sg.caption.exports.journal import record_export
from sg.caption.exports.write import export
from sg.caption.local.given import GivenCaptionerConfig
from sg.caption.run import caption_videos
from sg.core.content import file_state
from sg.core.identity import identity
from sg.core.places.config import PathsConfig
from sg.sources.config import DataConfig
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini.state import State

IDS = ["clip-a", "clip-b", "clip-c", "clip-d"]
GONE = "clip-b"


@pytest.fixture
def data(tmp_path: Path, state: State, url: str) -> DataConfig:
    """Four videos with captions of two captioners, vectors, a merge forest, visual tokens and an export."""
    data = data_folder(tmp_path / "work" / "clips", IDS)
    manifest = read_manifest(data.manifest_path)
    rows = [dataclasses.replace(row, original_caption=f"the text of {row.video_id}") for row in manifest.records()]
    write_manifest(data.manifest_path, rows)
    caption_videos(data, GivenCaptionerConfig())
    bought = caption(data, settings(url))
    folder = Path(data.dir)
    matrix = np.eye(4, 8, dtype=np.float32)
    for part, rows_of_part in enumerate((slice(0, 2), slice(2, 4))):
        write_vectors_part(folder / "embeddings" / "demo", part, IDS[rows_of_part], matrix[rows_of_part])
    write_vectors_info(folder / "embeddings" / "demo", {"dim": 8, "videos": 4})
    parent = np.array([1, 3, 3, -1])
    nan = np.full(4, 0.5, np.float32)
    forest = Forest(IDS, parent, nan, np.zeros(4, np.int32), subtree_sizes(parent), nan)
    write_forest(folder / "curation" / "tome" / "forest.parquet", forest)
    store = VisualTokenStore.create(
        tokens(tmp_path), identity("tokens", settings={}, version=1), {"tokens": 6}, "float32"
    )
    with store.writer() as writer:
        for number, video_id in enumerate(IDS):
            source = file_state(Path(data.videos) / f"{video_id}.mp4")
            assert source is not None
            for key in (f"clips/{video_id}.mp4", f"mix-0/clips/{video_id}.mp4"):
                tensor = torch.full((2, 6), float(number))
                writer.add(ClipTensors(key, ClipFacts([0], 1.0, 1), {"tokens": tensor}, are_features=True), source)
    out = tmp_path / "given.json"
    export(bought, manifest, Path(data.videos), out, "chat_univi")
    record_export(folder, bought, out, "chat_univi", None, False)
    return data


def tokens(tmp_path: Path) -> Path:
    return tmp_path / "work" / "visual_tokens" / "0"


def forget(tmp_path: Path, data: DataConfig, *ids: str) -> None:
    (tmp_path / "ids.txt").write_text("".join(f"{video_id}\n" for video_id in ids))
    paths = PathsConfig(work=str(tmp_path / "work"), runs=str(tmp_path / "runs"))
    given = GivenCaptionerConfig()
    act(CaptionConfig(data=data, captioner=given, paths=paths, action="forget", ids=str(tmp_path / "ids.txt")))


def test_a_forgotten_video_is_removed_from_everything_and_the_others_stay(
    tmp_path: Path, data: DataConfig, state: State, url: str
) -> None:
    folder, kept = Path(data.dir), [video_id for video_id in IDS if video_id != GONE]
    bought = read_captions(folder / "captions" / "gemini" / "captions.parquet")[GONE]

    forget(tmp_path, data, GONE)

    rows = {row.video_id: row for row in read_manifest(data.manifest_path).records()}
    assert (rows[GONE].status, rows[GONE].original_caption, rows[GONE].extra) == (FORGOTTEN, "", "{}")
    for captioner in ("given", "gemini"):
        assert list(read_captions(folder / "captions" / captioner / "captions.parquet")) == kept
    assert read_vectors(folder / "embeddings" / "demo").video_ids == kept
    forest = read_forest(folder / "curation" / "tome" / "forest.parquet")
    assert sorted(forest.video_ids) == kept
    assert forest.clusters(1) == {"clip-d": ["clip-d", "clip-c", "clip-a"]}
    store = VisualTokenStore(tokens(tmp_path))
    assert sorted(store) == sorted([f"{place}{name}.mp4" for name in kept for place in ("clips/", "mix-0/clips/")])
    assert [float(store.tensors(f"clips/{name}.mp4")["tokens"][0, 0]) for name in kept] == [0.0, 2.0, 3.0]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".mp4":
            assert f"the text of {GONE}".encode() not in path.read_bytes(), path
            assert bought.encode() not in path.read_bytes(), path
    assert GONE not in (tmp_path / "given.json").read_text()
    assert "clip-a" in (tmp_path / "given.json").read_text()


def test_no_later_step_makes_anything_of_a_forgotten_video(
    tmp_path: Path, data: DataConfig, state: State, url: str
) -> None:
    forget(tmp_path, data, GONE)
    rows = list(read_manifest(data.manifest_path).records())
    scanned = [dataclasses.replace(row, status="ok", original_caption="found again") for row in rows]
    write_manifest(data.manifest_path, scanned)  # what the next scan of the folder writes
    assert GONE not in read_captions(caption_videos(data, GivenCaptionerConfig()))
    caption(data, settings(url))
    assert state.requests[GONE] == 1
    forget(tmp_path, data, GONE)  # a repeated command changes nothing


def test_what_holds_a_forgotten_video_still_is_listed(
    tmp_path: Path, data: DataConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "study-1" / "50k-seed0"
    stages = {name: StageResult(name[0] * 16) for name in ("align", "caption", "instruct")}
    for name, stage in stages.items():
        (tmp_path / "work" / "stages" / f"{name}-{stage.fingerprint}").mkdir(parents=True)
    inputs = {"manifest": str(data.manifest_path)}
    write_result(run, RunResult("50k-seed0", "study-1", 50_000, "50k", 0, stages=stages, inputs=inputs))
    (run.parent / "report").mkdir()
    (run.parent / "report" / "clusters.js").write_text(f'["other\\n{GONE}\\nx"]')
    row = Prediction("q", "with_subtitles", "clip-a", "short", "A", response=f"as in {GONE}", letter="A")
    (run / "predictions.jsonl").write_text(row.to_json() + "\n")
    with (tmp_path / "given.json").open("a") as stream:
        stream.write("\n")  # somebody changed the export

    forget(tmp_path, data, GONE)

    shown = capsys.readouterr().out
    assert "still there:" in shown
    assert f"{Path(data.videos) / f'{GONE}.mp4'} (the video itself)" in shown
    assert f"{tmp_path / 'given.json'} (an export that was moved or changed since)" in shown
    assert "caption-cccccccccccccccc (a checkpoint of run study-1/50k-seed0" in shown
    assert "instruct-iiiiiiiiiiiiiiii" in shown and "align-" not in shown
    assert f"{run.parent / 'report'} (a report" in shown
    assert "predictions.jsonl" not in shown
    assert GONE in (tmp_path / "given.json").read_text()


def test_an_export_without_a_remaining_video_is_deleted(tmp_path: Path, data: DataConfig) -> None:
    out = tmp_path / "one.json"
    bought = Path(data.dir) / "captions" / "gemini" / "captions.parquet"
    export(bought, read_manifest(data.manifest_path), Path(data.videos), out, "sharegemini", [GONE])
    record_export(Path(data.dir), bought, out, "sharegemini", [GONE], False)
    forget(tmp_path, data, GONE)
    assert not list(tmp_path.glob("one*"))


def test_the_last_vector_of_a_part_can_be_forgotten(tmp_path: Path) -> None:
    write_vectors_part(tmp_path, 0, ["a"], np.eye(1, 4, dtype=np.float32))
    write_vectors_part(tmp_path, 1, ["b"], np.eye(1, 4, dtype=np.float32))
    write_vectors_info(tmp_path, {"dim": 4, "videos": 2})
    assert forget_vectors(tmp_path, {"a", "stranger"}) == 1
    assert read_vectors(tmp_path).video_ids == ["b"]
    assert read_vectors(tmp_path).info["videos"] == 1
