import json
import shutil
import subprocess
import sys
from dataclasses import field, make_dataclass, replace

import pytest

from benchmarks.curation.kills import ForkServer, kill_at_random
from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.artefacts.vectors import Vectors, part_path
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import read_json
from sg.core.identity import NOT_IDENTITY, code_version, differences, identity, recorded
from sg.curate.config import ArtefactName, CurateConfig
from sg.curate.curators.kmeans import KMeansConfig
from sg.curate.curators.random import RandomConfig
from sg.curate.pipeline import curate
from sg.curate.run import curate_data, find_inputs
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.tome.settings import TomeConfig
from sg.sources.config import DataConfig
from tests.curate.builders import clumpy_vectors, write_vectors


def write_texts(path, ids):
    return write_captions(path, [CaptionRecord(name, "x" * (1 + number % 9)) for number, name in enumerate(ids)])


@pytest.fixture
def vectors(tmp_path):
    return write_vectors(tmp_path / "vectors", clumpy_vectors(400))


def test_a_curation_writes_a_forest_and_records_its_origin(tmp_path, vectors):
    config = TomeConfig()
    path = curate(config, vectors, None, tmp_path / "out")
    forest = read_forest(path)
    assert len(forest) == 400
    report = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert report["config"]["max_merge_fraction"] == 0.25
    assert report["vectors"] == {"dim": 16, "rows": 400, "info": {"dim": 16}}
    assert report["exact_duplicates"] == int((forest.round == -1).sum()) > 0
    assert report["fingerprint"] == forest.info["fingerprint"]
    first = report["rounds"][0]
    assert first["merges"] == first["tokens"] // 4 and first["cut"] is not None
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [".lock", "curation.json", "forest.parquet"]


def test_a_finished_forest_is_reused_and_another_run_gives_the_same_bytes(tmp_path, vectors):
    first = curate(TomeConfig(), vectors, None, tmp_path / "a")
    stamp = first.stat().st_mtime_ns
    assert curate(TomeConfig(name="other", block_rows=99, device="cpu"), vectors, None, tmp_path / "a") == first
    assert first.stat().st_mtime_ns == stamp
    assert curate(TomeConfig(), vectors, None, tmp_path / "b").read_bytes() == first.read_bytes()


def test_moved_vectors_and_a_moved_result_are_not_curated_again(tmp_path, vectors):
    stamp = curate(TomeConfig(), vectors, None, tmp_path / "out").stat().st_mtime_ns
    (tmp_path / "elsewhere").mkdir()
    moved, out = vectors.rename(tmp_path / "elsewhere" / "vectors"), tmp_path / "elsewhere" / "out"
    (tmp_path / "out").rename(out)
    assert curate(TomeConfig(), moved, None, out).stat().st_mtime_ns == stamp


def test_a_raised_version_curates_again(tmp_path, vectors, monkeypatch):
    path = curate(TomeConfig(), vectors, None, tmp_path / "out")
    first = read_json(tmp_path / "out" / "curation.json")
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    monkeypatch.setattr("sg.curate.pipeline.CURATION_VERSION", first["identity"]["version"] + 1)
    assert curate(TomeConfig(), vectors, None, tmp_path / "out").stat().st_mtime_ns != stamp
    again = read_json(tmp_path / "out" / "curation.json")
    assert again["made_by"] != first["made_by"] and path.read_bytes() != before
    changes = differences(recorded(first), recorded(again))
    assert [change.key for change in changes] == ["version"]


def test_the_record_of_a_curation_names_the_code_that_made_it(tmp_path, vectors):
    curate(TomeConfig(), vectors, None, tmp_path / "out")
    record = read_json(tmp_path / "out" / "curation.json")
    assert record["code"] == code_version()
    assert record["made_by"] == record["fingerprint"] == recorded(record).name


@pytest.mark.parametrize("settings", [TomeConfig, ShardedTomeConfig, KMeansConfig])
def test_a_new_setting_changes_the_identity_unless_it_is_marked(settings):
    for metadata, num_names in ({}, 2), (NOT_IDENTITY, 1):
        extended = make_dataclass("Extended", [("new", int, field(default=0, metadata=metadata))], bases=(settings,))
        names = {identity("curation", settings=extended(new=new), version=1).name for new in (0, 1)}
        assert len(names) == num_names


def test_other_settings_vectors_or_captions_curate_again(tmp_path, vectors):
    out = tmp_path / "out"
    hashes = [read_forest(curate(TomeConfig(), vectors, None, out)).content_hash]
    hashes.append(read_forest(curate(TomeConfig(seed=1), vectors, None, out)).content_hash)
    captions = write_texts(tmp_path / "captions.parquet", read_forest(out / "forest.parquet").video_ids)
    hashes.append(read_forest(curate(TomeConfig(seed=1), vectors, captions, out)).content_hash)
    write_vectors(vectors, clumpy_vectors(400, seed=3))
    hashes.append(read_forest(curate(TomeConfig(seed=1), vectors, captions, out)).content_hash)
    assert len(set(hashes)) == 4


def test_captions_do_not_count_for_curators_that_ignore_them(tmp_path, vectors):
    path = curate(RandomConfig(), vectors, None, tmp_path / "out")
    stamp = path.stat().st_mtime_ns
    captions = write_texts(tmp_path / "captions.parquet", read_forest(path).video_ids)
    assert curate(RandomConfig(), vectors, captions, tmp_path / "out").stat().st_mtime_ns == stamp


def test_only_wanted_videos_are_curated_and_the_others_are_recorded(tmp_path, vectors):
    wanted = clumpy_vectors(400).video_ids[:390]
    forest = read_forest(curate(TomeConfig(), vectors, None, tmp_path / "out", wanted=wanted))
    assert set(forest.video_ids) == set(wanted)
    assert len(json.loads((tmp_path / "out" / "curation.json").read_text())["excluded"]) == 10
    lacking = [*wanted, "video-without-vector"]
    with pytest.raises(DataError, match="'video-without-vector'"):
        curate(TomeConfig(), vectors, None, tmp_path / "out", wanted=lacking)
    again = read_forest(curate(TomeConfig(), vectors, None, tmp_path / "out", wanted=lacking, missing="skip"))
    assert again.content_hash == forest.content_hash
    excluded = json.loads((tmp_path / "out" / "curation.json").read_text())["excluded"]
    assert excluded["video-without-vector"] == "no vector"


def test_naming_all_videos_is_the_same_as_naming_none(tmp_path, vectors):
    path = curate(TomeConfig(), vectors, None, tmp_path / "out")
    stamp = path.stat().st_mtime_ns
    wanted = clumpy_vectors(400).video_ids[::-1]
    assert curate(TomeConfig(), vectors, None, tmp_path / "out", wanted=wanted).stat().st_mtime_ns == stamp


def test_a_truncated_part_is_named_and_the_old_forest_stays(tmp_path, vectors):
    path = curate(TomeConfig(), vectors, None, tmp_path / "out")
    before = path.read_bytes()
    damaged = part_path(vectors, 2)
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(DataError, match="part-00002"):
        curate(TomeConfig(), vectors, None, tmp_path / "out")
    assert path.read_bytes() == before


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_videos_is_curated_and_described(tmp_path, count):
    config = make_source(tmp_path, count=count, usable=count)
    path = curate_data(replace(config, scales=["1k", "2k", "9k"], export=["1k"]))
    assert len(read_forest(path)) == count
    assert [core["size"] for core in read_json(path.parent / "statistics.json")["cores"]] == [1, 2][:count]


def test_the_exact_matchers_reuse_each_others_forest(tmp_path, vectors):
    path = curate(TomeConfig(matcher="projected"), vectors, None, tmp_path / "out")
    stamp = path.stat().st_mtime_ns
    assert curate(TomeConfig(block_rows=7), vectors, None, tmp_path / "out").stat().st_mtime_ns == stamp
    assert curate(TomeConfig(matcher="cells"), vectors, None, tmp_path / "out").stat().st_mtime_ns != stamp


def test_nothing_to_curate_is_a_clear_error(tmp_path, vectors):
    with pytest.raises(MissingInputError, match=r"python -m sg\.embed"):
        curate(TomeConfig(), tmp_path / "nowhere", None, tmp_path / "out")
    with pytest.raises(DataError, match="no video to curate"):
        curate(TomeConfig(), vectors, None, tmp_path / "out", wanted=[])


def test_an_unfinished_run_is_refused_with_other_settings_and_resumes_to_the_same_bytes(tmp_path, vectors):
    undisturbed = curate(TomeConfig(), vectors, None, tmp_path / "undisturbed").read_bytes()
    unfinished = tmp_path / "out" / "unfinished"
    with ForkServer(vectors) as server:
        for _ in range(20):  # a run that ends before the kill is repeated
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            if not server.run(tmp_path / "out", until=unfinished / "round.npz"):
                break
    assert not (tmp_path / "out" / "forest.parquet").exists()
    with pytest.raises(ConfigError, match=r"settings.seed: 0 -> 1"):
        curate(TomeConfig(seed=1), vectors, None, tmp_path / "out")
    assert curate(TomeConfig(matcher="projected"), vectors, None, tmp_path / "out").read_bytes() == undisturbed
    assert not unfinished.exists()


@pytest.mark.parametrize("content", [b"", b"PK garbage", None], ids=["empty", "garbage", "one bit"])
def test_a_damaged_state_of_an_unfinished_run_is_reported_and_the_run_starts_again(tmp_path, vectors, caplog, content):
    undisturbed = curate(TomeConfig(), vectors, None, tmp_path / "undisturbed").read_bytes()
    state = tmp_path / "out" / "unfinished" / "round.npz"
    with ForkServer(vectors) as server:
        for _ in range(20):  # a run that ends before the kill is repeated
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            if not server.run(tmp_path / "out", until=state):
                break
    whole = state.read_bytes()
    middle = len(whole) // 2
    state.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :] if content is None else content)
    assert curate(TomeConfig(), vectors, None, tmp_path / "out").read_bytes() == undisturbed
    assert f"because {state} is damaged" in caplog.text


def test_a_damaged_record_of_an_unfinished_run_is_refused_with_the_folder_to_delete(tmp_path, vectors):
    unfinished = tmp_path / "out" / "unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "identity.json").write_text("{")
    with pytest.raises(DataError, match=r"identity\.json is damaged: delete the folder .*unfinished"):
        curate(TomeConfig(), vectors, None, tmp_path / "out")


@pytest.mark.parametrize("name", ["forest.parquet", "curation.json"])
def test_a_damaged_curation_is_made_again(tmp_path, vectors, caplog, name):
    path = curate(TomeConfig(), vectors, None, tmp_path / "out")
    whole, file = path.read_bytes(), path.with_name(name)
    file.write_bytes(file.read_bytes().replace(b"video", b"vided", 1).replace(b'"tome"', b'"tomf"', 1))
    assert curate(TomeConfig(), vectors, None, tmp_path / "out").read_bytes() == whole
    assert f"{file} is damaged" in caplog.text


def test_a_flipped_bit_in_the_vectors_is_reported(tmp_path, vectors):
    part = min(vectors.glob("part-*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DataError, match=rf"{part.name} is damaged.*sg\.embed"):
        curate(TomeConfig(), vectors, None, tmp_path / "out")


def test_runs_killed_at_random_moments_end_in_the_same_bytes(tmp_path, vectors):
    outcomes = kill_at_random(vectors, tmp_path, runs=2, seed=0)
    assert all(outcome.same_bytes for outcome in outcomes)
    assert sum(outcome.kills for outcome in outcomes) >= 2


def test_two_commands_at_once_curate_once(tmp_path, vectors):
    script = (
        "import sys; from pathlib import Path; from sg.curate.tome.settings import TomeConfig; "
        "from sg.curate.pipeline import curate; folder = Path(sys.argv[1]); "
        "curate(TomeConfig(), folder / 'vectors', None, folder / 'out')"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert len(read_forest(tmp_path / "out" / "forest.parquet")) == 400


def make_source(folder, count=400, usable=400):
    """A source with manifest, vectors and captions in `folder`; returns the config of a curation of it."""
    vectors = clumpy_vectors(count)
    records = [
        VideoRecord(name, "here", f"{name}.mp4", 5.0, 64, 64, 1.0, 5, "", "train", "ok" if row < usable else "gone", "")
        for row, name in enumerate(vectors.video_ids)
    ]
    write_manifest(folder / "manifest.parquet", records)
    write_vectors(folder / "embeddings" / "tower", vectors)
    write_texts(folder / "captions" / "given" / "captions.parquet", vectors.video_ids)
    data = DataConfig(name="here", dir=str(folder), videos=str(folder / "videos"), captions_per_k=1)
    return CurateConfig(data=data, curator=TomeConfig(), scales=["50k", "200k", "9000k"], export=["50k"])


def test_the_command_curates_describes_and_exports(tmp_path):
    path = curate_data(make_source(tmp_path, usable=390))
    assert path == tmp_path / "curation" / "tome" / "forest.parquet"
    assert len(read_forest(path)) == 390
    numbers = json.loads((path.parent / "statistics.json").read_text())
    assert [core["size"] for core in numbers["cores"]] == [50, 200]
    assert numbers["cores"][0]["sources"] == {"here": 1.0}
    assert (path.parent / "core-50.txt").read_text().splitlines() == read_forest(path).core(50)


def test_one_of_several_sets_of_vectors_must_be_chosen(tmp_path):
    config = make_source(tmp_path)
    write_vectors(tmp_path / "embeddings" / "other", clumpy_vectors(400, seed=5))
    with pytest.raises(ConfigError, match=r"several \(other, tower\).*embedder=NAME"):
        curate_data(config)
    assert curate_data(replace(config, embedder=ArtefactName("tower"))).is_file()


def test_the_default_captioner_of_the_data_is_that_of_the_captions_that_came_with_it(tmp_path):
    config = make_source(tmp_path)
    files = find_inputs(replace(config, captioner=ArtefactName("mix")))
    assert files.captions == tmp_path / "captions" / "given" / "captions.parquet"
    with pytest.raises(MissingInputError, match=r"There is no .*gemini/captions\.parquet: .* holds given"):
        find_inputs(replace(config, captioner=ArtefactName("gemini")))


def test_missing_vectors_name_the_command_that_makes_them(tmp_path):
    config = make_source(tmp_path)
    (tmp_path / "embeddings" / "tower" / "embeddings.json").unlink()
    with pytest.raises(MissingInputError, match=r"python -m sg\.embed data=here"):
        curate_data(config)


def test_new_videos_extend_a_forest_which_is_then_reused(tmp_path):
    config = make_source(tmp_path)
    old = read_forest(curate_data(config))
    config = make_source(tmp_path, count=430, usable=430)
    path = curate_data(replace(config, extend="100k"))
    new = read_forest(path)
    assert len(new) == 430 and new.core(100) == old.core(100)
    assert new.info["extends"] == old.content_hash
    stamp = path.stat().st_mtime_ns
    assert curate_data(config).stat().st_mtime_ns == stamp
    changes = json.loads((path.parent / "curation.json").read_text())["changes"]
    assert changes == [{"extended": 30, "extends": old.content_hash, "at_size": 100}]


def test_a_forgotten_video_stays_forgotten(tmp_path):
    config = make_source(tmp_path)
    old = read_forest(curate_data(config))
    gone = old.core(3)[1]
    vectors = clumpy_vectors(400)
    rows = [row for row, name in enumerate(vectors.video_ids) if name != gone]
    left = Vectors([vectors.video_ids[row] for row in rows], vectors.matrix[rows], {})
    records = [
        VideoRecord(name, "here", f"{name}.mp4", 5.0, 64, 64, 1.0, 5, "", "train", "ok", "") for name in left.video_ids
    ]
    write_manifest(tmp_path / "manifest.parquet", records)
    write_vectors(tmp_path / "embeddings" / "tower", left)
    path = curate_data(replace(config, forget=[gone]))
    assert gone not in read_forest(path).video_ids
    stamp = path.stat().st_mtime_ns
    assert curate_data(config).stat().st_mtime_ns == stamp


def test_extend_and_forget_exclude_each_other():
    with pytest.raises(ConfigError, match="one after the other"):
        CurateConfig(extend="100k", forget=["a"])
