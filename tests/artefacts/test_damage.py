"""Random damage to every kind of artefact is reported by its reader: the fast form of `benchmarks/damage/flips.py`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.damage.flips import MADE_AGAIN, REPORTED, Kind, flipped, outcomes, zeroed
from sg.artefacts.arms import Registration, read_registration, write_registration
from sg.artefacts.captions import CaptionRecord, read_captions, write_captions
from sg.artefacts.forest import Forest, read_forest, write_forest
from sg.artefacts.judged import JudgedCaption, read_judged, write_judged
from sg.artefacts.manifest import VideoRecord, hash_manifest, read_manifest, scan_manifest, write_manifest
from sg.artefacts.predictions import Prediction, PredictionWriter, read_predictions
from sg.artefacts.result import RunResult, answers_record, read_answers_of, read_result, write_result
from sg.artefacts.tables import read_info
from sg.artefacts.vectors import (
    read_part,
    read_vector_ids,
    read_vectors,
    read_vectors_info,
    write_vectors_info,
    write_vectors_part,
)
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.checksums import _is_intact_file
from sg.core.content import file_state
from sg.core.errors import disk_problem
from sg.core.identity import identity
from sg.curate.arrays import read_arrays
from sg.models.weight_files import read_weights
from sg.sources.records.reading import read_records
from tests.core.disks import closed, folder_for_all

IDS = [f"video{number}" for number in range(40)]


def manifest(folder: Path) -> Kind:
    path = write_manifest(folder / "manifest.parquet", (VideoRecord(name, "t", f"{name}.mp4") for name in IDS))
    return Kind("manifest", [path], lambda: bool(read_manifest(path)))


def scanned_manifest(folder: Path) -> Kind:
    path = manifest(folder).files[0]
    return Kind("scanned manifest", [path], lambda: bool(list(scan_manifest(path)) and hash_manifest(path)))


def captions(folder: Path) -> Kind:
    rows = (CaptionRecord(name, f"A red ball, number {name}.") for name in IDS)
    path = write_captions(folder / "captions.parquet", rows, {"captioner": "t"})
    return Kind("captions", [path], lambda: bool(len(read_captions(path))))


def origin_of_captions(folder: Path) -> Kind:
    path = captions(folder).files[0]
    return Kind("origin of captions", [path], lambda: bool(read_info(path)))


def vectors(folder: Path) -> Kind:
    matrix = np.random.default_rng(0).standard_normal((len(IDS), 8)).astype(np.float32)
    parts = [write_vectors_part(folder, part, IDS[part::2], matrix[part::2]) for part in (0, 1)]
    files = [*parts, write_vectors_info(folder, {"dim": 8})]
    return Kind("vectors", files, lambda: bool(len(read_vectors(folder).video_ids)))


def ids_of_vectors(folder: Path) -> Kind:
    files = [path for path in vectors(folder).files if path.suffix == ".parquet"]
    return Kind("ids of vectors", files, lambda: bool(read_vector_ids(folder)))


def part_of_vectors(folder: Path) -> Kind:
    path = vectors(folder).files[0]
    return Kind("part of vectors", [path], lambda: bool(read_part(path)))


def record_of_vectors(folder: Path) -> Kind:
    path = vectors(folder).files[-1]
    return Kind("record of vectors", [path], lambda: bool(read_vectors_info(folder)))


def forest(folder: Path) -> Kind:
    count = len(IDS)
    nothing = np.full(count, np.nan, np.float32)
    rows = Forest(IDS, np.full(count, -1), nothing, np.zeros(count, np.int32), np.ones(count, np.int64), nothing)
    path = write_forest(folder / "forest.parquet", rows)
    return Kind("forest", [path], lambda: bool(len(read_forest(path))))


def tokens(folder: Path) -> Kind:
    (folder / "a.mp4").write_bytes(b"video")
    source, store = (
        file_state(folder / "a.mp4"),
        VisualTokenStore.create(folder, identity("t", settings={}, version=1), {"tokens": 4}),
    )
    assert source is not None
    with store.writer() as writer:
        for name in IDS:
            facts = ClipFacts([0, 1], 1.0, 2)
            writer.add(ClipTensors(name, facts, {"tokens": torch.randn(20, 4)}, are_features=True), source)

    def read() -> bool:
        again = VisualTokenStore(folder)
        return all(len(again[name].tensors["tokens"]) == 20 for name in again)

    return Kind("tokens", sorted([*folder.glob("part-*"), folder / "visual_tokens.json"]), read)


def predictions(folder: Path) -> Kind:
    path, rows = folder / "predictions.jsonl", [Prediction(name, "s", "v", "short", "A", made_by="m") for name in IDS]
    with PredictionWriter(path, "m") as writer:
        writer.write(rows)
    result = RunResult("r", "s", 0, "0", 0, scores={"s": {}}, answers=answers_record(rows, {"s": {}}))
    return Kind("predictions", [path], lambda: bool(read_predictions(path) and read_answers_of(folder, result)))


def result(folder: Path) -> Kind:
    write_result(folder, RunResult("50k-seed0", "demo", 50_000, "50k", 0, scores={"s": {"overall": 50.5}}))
    return Kind("result", [folder / "result.json"], lambda: bool(read_result(folder)))


def judged(folder: Path) -> Kind:
    rows = (JudgedCaption(name, "facts", ("a ball: red",), ("true",), recall=0.5) for name in IDS)
    path = write_judged(folder / "judged-facts.parquet", rows, {"judge": "facts"})
    return Kind("judged captions", [path], lambda: bool(list(read_judged(path))))


def registration(folder: Path) -> Kind:
    path = write_registration(folder, Registration("caption effect", "accuracy", "demo", "s", ["0"], [0], 1.0, "rule"))
    return Kind("registration", [path], lambda: bool(read_registration(folder)))


def weights(folder: Path) -> Kind:
    save_file({"x": torch.ones(2)}, folder / "model.safetensors")
    return Kind("weights", [folder / "model.safetensors"], lambda: bool(read_weights(folder / "model.safetensors")))


def state_of_curation(folder: Path) -> Kind:
    np.savez(folder / "state.npz", x=np.ones(2))
    return Kind("state of a curation", [folder / "state.npz"], lambda: bool(read_arrays(folder / "state.npz")))


def annotations(folder: Path) -> Kind:
    pq.write_table(pa.table({"video": ["a.mp4"], "caption": ["A cat"]}), folder / "c.parquet")
    return Kind("annotations", [folder / "c.parquet"], lambda: bool(list(read_records(folder / "c.parquet"))))


KINDS = [
    manifest, scanned_manifest, captions, vectors, ids_of_vectors, part_of_vectors, record_of_vectors, forest, tokens,
    predictions, result, judged, registration,
]  # fmt: skip


@pytest.mark.parametrize("fault", [flipped, zeroed])
@pytest.mark.parametrize("kind", KINDS)
def test_no_random_damage_is_silent(tmp_path: Path, kind: Callable[[Path], Kind], fault: Callable[..., bytes]) -> None:
    made = kind(tmp_path)
    assert made.read(), "an intact artefact is read"
    assert outcomes(made, fault, count=20, seed=1) == {REPORTED: 20}
    assert made.read(), "a restored artefact is read"


@pytest.mark.parametrize("fault", [flipped, zeroed])
def test_captions_without_a_sound_origin_are_made_again(tmp_path: Path, fault: Callable[..., bytes]) -> None:
    assert outcomes(origin_of_captions(tmp_path), fault, count=20, seed=1) == {MADE_AGAIN: 20}


@pytest.mark.parametrize("kind", [*KINDS, weights, state_of_curation, annotations])
def test_a_file_of_another_user_is_named_and_never_called_damaged(kind: Callable[[Path], Kind]) -> None:
    with folder_for_all() as folder:
        for path in (made := kind(folder)).files:
            _is_intact_file.cache_clear()
            with closed(path, mode=0), pytest.raises(Exception) as caught:
                made.read()
            sentence = disk_problem(caught.value) or str(caught.value)
            assert path.name in sentence and "permission" in sentence and "delete" not in sentence
