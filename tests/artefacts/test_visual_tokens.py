from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.content import FileState, file_state
from sg.core.errors import DataError, MissingInputError
from sg.core.files import read_json, write_json
from sg.core.identity import identity

WORK = identity("visual_tokens", settings={"tower": "tiny", "clusters": [8, 4, 2]}, version=1)
SOURCE = FileState("5000:1:1", "a file")


def make_store(folder: Path, dtype: str = "float32") -> VisualTokenStore:
    return VisualTokenStore.create(folder, WORK, {"tokens": 6}, dtype)


def clip(number: int) -> torch.Tensor:
    return torch.randn(3 + number, 6, generator=torch.Generator().manual_seed(number))


def tokens(key: str, tensor: torch.Tensor, frames: list[int], fps: float, num_frames: int) -> ClipTensors:
    return ClipTensors(key, ClipFacts(frames, fps, num_frames, 64, 48), {"tokens": tensor}, are_features=True)


def fill(store: VisualTokenStore, numbers: range, shard_bytes: int = 200) -> None:
    with store.writer(shard_bytes) as writer:
        for number in numbers:
            writer.add(tokens(f"corpus/{number}.mp4", clip(number), [0, 2 + number], 24.0, 100), SOURCE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_was_written_is_read_back_in_the_type_of_the_store(tmp_path: Path, dtype: str) -> None:
    fill(make_store(tmp_path, dtype), range(7))
    store = VisualTokenStore(tmp_path)
    assert len(store) == 7 and "corpus/3.mp4" in store and "corpus/9.mp4" not in store
    found = store["corpus/3.mp4"]
    assert torch.equal(found.tensors["tokens"], clip(3).to(getattr(torch, dtype)))
    assert found.facts == store.facts("corpus/3.mp4") == ClipFacts([0, 5], 24.0, 100, 64, 48)
    assert store.identity == WORK
    assert store.verify() == 7


def test_clips_go_into_several_shards_and_a_second_run_adds_only_what_is_missing(tmp_path: Path) -> None:
    fill(make_store(tmp_path), range(4))
    shards = sorted(path.name for path in tmp_path.glob("part-*.safetensors"))
    before = {name: (tmp_path / name).read_bytes() for name in shards}
    assert len(shards) > 1
    store = make_store(tmp_path)
    assert (store.source("corpus/3.mp4"), store.source("corpus/5.mp4")) == (SOURCE, None)
    fill(store, range(6))
    assert len(store) == 6
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_tokens_of_a_replaced_file_replace_the_old_ones(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, range(3))
    replaced = FileState("5000:2:1", "another file of the same size")
    with store.writer() as writer:
        writer.add(tokens("corpus/1.mp4", clip(9), [7], 24.0, 8), replaced)
        writer.add(tokens("corpus/2.mp4", clip(9), [7], 24.0, 8), SOURCE)  # another process was first
    for seen in (store, make_store(tmp_path)):
        assert torch.equal(seen["corpus/1.mp4"].tensors["tokens"], clip(9))
        assert (seen.facts("corpus/1.mp4").frame_indices, seen.source("corpus/1.mp4")) == ([7], replaced)
        assert torch.equal(seen["corpus/2.mp4"].tensors["tokens"], clip(2))
        assert (len(seen), seen.verify()) == (3, 3)


def test_tokens_belong_to_the_content_of_a_file_not_to_its_size_or_place(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "store"), tmp_path / "a.mp4"
    file.write_bytes(b"1234")
    state = file_state(file)
    assert state is not None
    with store.writer() as writer:
        writer.add(tokens("a", clip(0), [0], 1.0, 1), state)
    (tmp_path / "moved.mp4").write_bytes(b"1234")
    (tmp_path / "other.mp4").write_bytes(b"5678")
    found = [store.is_current("a", tmp_path / name) for name in ("a.mp4", "moved.mp4", "other.mp4", "deleted.mp4")]
    assert found == [True, True, False, True]


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "store"), tmp_path / "a.mp4"
    file.write_bytes(b"1234")
    look, state = file.stat(), file_state(file)
    assert state is not None
    with store.writer() as writer:
        writer.add(tokens("a", clip(0), [0], 1.0, 1), state)
    file.write_bytes(b"5678")
    os.utime(file, ns=(look.st_atime_ns, look.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (look.st_size, look.st_mtime_ns)
    assert not store.is_current("a", file)


def test_two_worlds_with_the_same_names_use_one_store_at_once(tmp_path: Path) -> None:
    files = [tmp_path / name / "a.mp4" for name in ("one", "two")]
    stores = [make_store(tmp_path / "store") for _ in files]
    for number, (store, file) in enumerate(zip(stores, files, strict=True)):
        file.parent.mkdir()
        file.write_bytes(b"world %d" % number)
        assert not store.is_current("a", file)
        state = file_state(file)
        assert state is not None
        with store.writer() as writer:
            writer.add(tokens("a", clip(number), [number], 1.0, 1), state)
    for number, (store, file) in enumerate(zip(stores, files, strict=True)):
        store.refresh()
        assert store.is_current("a", file)
        assert torch.equal(pickle.loads(pickle.dumps(store)).tensors("a")["tokens"], clip(number))
        other = make_store(tmp_path / "store")
        other.use({"a": store.source("a").content})
        assert torch.equal(other.tensors("a")["tokens"], clip(number))


def test_an_error_in_the_middle_keeps_the_clips_before_it(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(RuntimeError), store.writer() as writer:
        writer.add(tokens("a", clip(0), [0], 1.0, 1), SOURCE)
        raise RuntimeError("unreadable file")
    assert "a" in VisualTokenStore(tmp_path)


def test_a_shard_without_its_index_does_not_exist(tmp_path: Path) -> None:
    fill(make_store(tmp_path), range(3), shard_bytes=10**9)
    (tmp_path / "part-00000.parquet").unlink()
    store = make_store(tmp_path)
    assert len(store) == 0
    fill(store, range(3), shard_bytes=10**9)
    assert store.verify() == 3


def _fill_in_child(folder: Path, numbers: range) -> None:
    torch.set_num_threads(1)
    fill(make_store(folder), numbers)


def test_two_processes_fill_one_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # importing torch twice would take half a minute on a busy machine
    children = [context.Process(target=_fill_in_child, args=(tmp_path, r)) for r in (range(12), range(6, 18))]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    store = VisualTokenStore(tmp_path)
    assert sorted(store) == sorted(f"corpus/{number}.mp4" for number in range(18))
    assert store.verify() == 18


def test_a_store_can_go_to_another_process(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, range(2))
    store.tensors("corpus/1.mp4")["tokens"]
    copy = pickle.loads(pickle.dumps(store))
    assert torch.equal(copy.tensors("corpus/1.mp4")["tokens"], clip(1))


def test_damage_is_named_with_its_shard(tmp_path: Path) -> None:
    fill(make_store(tmp_path), range(3), shard_bytes=10**9)
    path = tmp_path / "part-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"part-00000 .* is damaged .*corpus/2.mp4.*delete part-00000"):
        VisualTokenStore(tmp_path).tensors("corpus/2.mp4")
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match="missing or too short"):
        VisualTokenStore(tmp_path)
    (tmp_path / "part-00000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="not an index of visual tokens"):
        VisualTokenStore(tmp_path)


def test_a_shard_of_another_student_is_refused(tmp_path: Path) -> None:
    other = replace(WORK, settings={**WORK.settings, "tower": "big"})
    fill(make_store(tmp_path / "a"), range(3), shard_bytes=10**9)
    fill(VisualTokenStore.create(tmp_path / "b", other, {"tokens": 6}, "float32"), range(3), shard_bytes=10**9)
    for name in ("part-00000.parquet", "part-00000.safetensors"):
        (tmp_path / "b" / name).replace(tmp_path / "a" / name)
    with pytest.raises(DataError, match=r"holds visual tokens that something else made: delete .*part-00000\.\*"):
        VisualTokenStore(tmp_path / "a")


def test_other_settings_wrong_widths_and_overflow_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, "float16")
    with pytest.raises(DataError, match=r"holds other visual tokens \(settings.tower: tiny -> big\)"):
        VisualTokenStore.create(
            tmp_path, replace(WORK, settings={**WORK.settings, "tower": "big"}), {"tokens": 6}, "float16"
        )
    with pytest.raises(DataError, match="int8"):
        VisualTokenStore.create(tmp_path / "b", WORK, {"tokens": 6}, "int8")
    writer = store.writer()
    with pytest.raises(DataError, match=r"\(2, 5\).*, expected \[n, C\] with \{'tokens': 6\}"):
        writer.add(tokens("a", torch.zeros(2, 5), [0], 1.0, 1), SOURCE)
    with pytest.raises(DataError, match="not finite float16"):
        writer.add(tokens("a", torch.full((2, 6), 1e6), [0], 1.0, 1), SOURCE)
    with pytest.raises(MissingInputError, match="no visual tokens of a in"):
        store.tensors("a")["tokens"]
    with pytest.raises(MissingInputError, match="no visual tokens in"):
        VisualTokenStore(tmp_path / "nowhere")


def test_a_clip_can_have_several_named_tensors(tmp_path: Path) -> None:
    widths = {"embeds": 6, "level_0": 4}
    store = VisualTokenStore.create(tmp_path, WORK, widths, "float32")
    made = [{name: torch.randn(2 + at, width) for name, width in widths.items()} for at in range(3)]
    facts = ClipFacts([0], 1.0, 1)
    with store.writer() as writer:
        for at, tensors in enumerate(made):
            writer.add(ClipTensors(str(at), facts, tensors, are_features=True), FileState("", f"file {at}"))
        with pytest.raises(DataError, match=r"visual tokens of a have shapes .*, expected"):
            writer.add(ClipTensors("a", facts, {"embeds": torch.zeros(2, 6)}, are_features=True), SOURCE)
        with pytest.raises(DataError, match=r"visual tokens of b have shapes .*, expected"):
            uneven = {"embeds": torch.zeros(2, 6), "level_0": torch.zeros(3, 4)}
            writer.add(ClipTensors("b", facts, uneven, are_features=True), SOURCE)
    assert store.forget(["0"]) == 1
    assert pq.read_schema(tmp_path / "part-00000.parquet").metadata[b"sg.made_by"] == WORK.name.encode()
    again = VisualTokenStore(tmp_path)
    for at in (1, 2):
        found = again.tensors(str(at))
        assert found.keys() == widths.keys()
        assert all(torch.equal(found[name], made[at][name]) for name in widths)
    assert again.verify() == 2


def test_a_store_of_version_0_1_is_read(tmp_path: Path) -> None:
    fill(make_store(tmp_path), range(3), shard_bytes=10**9)
    info, index = tmp_path / "visual_tokens.json", tmp_path / "part-00000.parquet"
    values = {key: value for key, value in read_json(info).items() if key not in ("widths", "checksum")}
    write_json(info, values | {"channels": 6})
    table = pq.read_table(index).drop_columns(["width", "height"])
    pq.write_table(table.replace_schema_metadata(None), index)
    store = make_store(tmp_path)
    assert torch.equal(store.tensors("corpus/2.mp4")["tokens"], clip(2))
    assert store.facts("corpus/2.mp4") == ClipFacts([0, 4], 24.0, 100, 0, 0)
    fill(store, range(4))
    assert (len(store), store.verify()) == (4, 4)


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, sg.artefacts.visual_tokens.store"
    code += "; assert not {'torch', 'pyarrow', 'safetensors'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_writing_and_reading_a_store_does_not_import_pandas_which_takes_a_second(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tests.artefacts.test_visual_tokens import *; "
        "store = make_store(pathlib.Path(sys.argv[1])); fill(store, range(3)); "
        "assert len(make_store(pathlib.Path(sys.argv[1]))) == 3; assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
