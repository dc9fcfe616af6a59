"""A mix draws from its sources by weight; a larger mix begins with the smaller one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.captions import read_captions
from sg.artefacts.forest import read_forest
from sg.artefacts.manifest import VideoRecord, read_manifest, video_path, write_manifest
from sg.artefacts.names import MAX_ID_BYTES
from sg.core.errors import ConfigError, MissingInputError
from sg.core.files import write_json
from sg.demo.build import TABLES, demo_records, world_identity, write_demo_video
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world, scenes_of
from sg.demo.language import caption
from sg.sources.manifests import make_manifest, scan
from sg.sources.registry import data_words
from sg.sources.sets.mix import MixDataConfig, MixPart, draw_order
from sg.study.inputs import make_inputs
from tests.repository.test_configs import composed

SIZES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1)
WEIGHTS = st.fixed_dictionaries({name: st.floats(0.1, 10) for name in "abc"})


def ids_of(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {name: [f"{name}{number}" for number in range(size)] for name, size in sizes.items()}


@settings(deadline=None)
@given(SIZES, WEIGHTS, st.integers(0, 5))
def test_every_prefix_of_the_order_has_the_shares_of_the_weights(
    sizes: dict[str, int], weights: dict[str, float], seed: int
) -> None:
    order = draw_order(ids_of(sizes), weights, seed)
    assert len(set(order)) == len(order) == sum(sizes.values())
    total, counts = sum(weights[name] for name in sizes), dict.fromkeys(sizes, 0)
    for done, (name, _) in enumerate(order, 1):
        counts[name] += 1
        if any(counts[other] == sizes[other] for other in sizes):
            break  # a source is used up: the others share the rest
        for other in sizes:
            assert abs(counts[other] - done * weights[other] / total) < len(sizes)


@settings(deadline=None)
@given(SIZES, WEIGHTS, st.integers(1, 20))
def test_added_videos_do_not_change_the_order_of_the_others(
    sizes: dict[str, int], weights: dict[str, float], more: int
) -> None:
    def queue(ids: dict[str, list[str]], name: str) -> list[str]:
        return [ids[name][row] for source, row in draw_order(ids, weights, 0) if source == name]

    small, large = ids_of(sizes), ids_of({name: size + more for name, size in sizes.items()})
    for name in sizes:
        known = set(small[name])
        assert queue(small, name) == [video for video in queue(large, name) if video in known]


def source(tmp_path: Path, name: str, ids: list[str], kind: str = "webvid", **info: Any) -> MixPart:
    videos = tmp_path / "videos" / name
    videos.mkdir(parents=True)
    rows = []
    for video in ids:
        (videos / f"{video}.mp4").touch()
        extra = '{"youtube_id": "dQw4w9WgXcQ"}' if video.endswith("0") else "{}"
        rows.append(VideoRecord(video, kind, f"{video}.mp4", original_caption=f"{name} {video}", extra=extra))
    rows.append(VideoRecord(f"broken-{name}", name, "", status="unreadable", reason="x"))
    write_manifest(tmp_path / "work" / name / "manifest.parquet", rows, {"videos": str(videos), **info})
    return MixPart(dir=str(tmp_path / "work" / name))


def mixed(tmp_path: Path, **values: Any) -> MixDataConfig:
    return MixDataConfig(name="mix", dir=str(tmp_path / "work" / "mix"), videos=str(tmp_path / "videos"), **values)


def test_a_mix_holds_usable_videos_once_with_paths_from_its_own_folder(tmp_path: Path) -> None:
    parts = {
        "a": source(tmp_path, "a", [f"a{n}" for n in range(9)] + ["both"]),
        "b": source(tmp_path, "b", ["b0", "b1", "both"]),
    }
    manifest = read_manifest(scan(mixed(tmp_path, sources=parts)))
    assert sorted(manifest.video_ids) == sorted([f"a{n}" for n in range(9)] + ["b0", "b1", "both"])
    rows = {row.video_id: row for row in manifest.records()}
    assert rows["both"].original_caption == "a both"
    assert all(video_path(tmp_path / "videos", row).is_file() for row in rows.values())
    assert manifest.info["drawn"] == {"a": 10, "b": 2}
    assert manifest.info["youtube_videos_of_several_sources"] == 1

    sizes = {}
    for size in ("4", "8"):
        config = mixed(tmp_path, size=size, sources={name: MixPart(part.dir, 1.0) for name, part in parts.items()})
        sizes[size] = read_manifest(scan(config)).video_ids
    assert sizes["8"][:4] == sizes["4"]
    assert sum(video.startswith("b") and video != "both" for video in sizes["4"]) == 2


def test_files_of_the_same_name_in_two_folders_are_two_videos(tmp_path: Path) -> None:
    parts = {}
    for name, kind in (("mine", "folder"), ("yours", "folder"), ("published", "webvid")):
        source(tmp_path, name, ["clip", "x" * (MAX_ID_BYTES - 4)], kind=kind)
        parts[name] = MixPart(dir=str(tmp_path / "work" / name))
    manifest = read_manifest(scan(mixed(tmp_path, sources=parts)))
    rows = {row.video_id: row.path for row in manifest.records()}
    assert len(rows) == 6
    assert {rows[name] for name in ("mine-clip", "yours-clip", "clip")} == {f"{name}/clip.mp4" for name in parts}


def test_a_mix_is_drawn_again_only_with_other_settings(tmp_path: Path) -> None:
    parts = {name: source(tmp_path, name, [f"{name}{n}" for n in range(9)]) for name in "ab"}
    first = make_manifest(mixed(tmp_path, size="4", sources=parts))
    (tmp_path / "work" / "b" / "manifest.parquet").unlink()
    assert make_manifest(mixed(tmp_path, size="4", sources=parts)) == first
    make_manifest(mixed(tmp_path, size="3", sources={"a": parts["a"]}))
    assert read_manifest(first).info["drawn"] == {"a": 3}
    make_manifest(mixed(tmp_path, size="3k", captions_per_k=1, seed=1, sources={"a": parts["a"]}))
    assert len(read_manifest(first)) == 3


def few_videos(folder: Path, settings: DemoWorldConfig, count: int) -> dict[str, str]:
    """Write the first videos of a demo world as if the world was complete; returns their captions by id."""
    world = make_world(settings)
    for video in world.corpus[:count]:
        write_demo_video(folder / "videos" / f"{video.video_id}.mp4", video)
    for table in TABLES:
        (folder / table).parent.mkdir(exist_ok=True)
        (folder / table).touch()
    write_manifest(folder / "manifest.parquet", list(demo_records(world))[:count], {"source": "demo"})
    write_json(folder / "world.json", {"fingerprint": world_identity(settings).name, "complete": True})
    return {video.video_id: caption(video.spec) for video in world.corpus[:count]}


def test_a_run_makes_a_mix_of_demo_worlds_with_captions_vectors_and_a_core(tmp_path: Path) -> None:
    folders = (f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}")
    config = composed("data=demo_mix", "data.size=1.2k", "data.sources.world3.weight=0", "embedder.workers=1", *folders)
    texts = {name: few_videos(Path(part.dir), config.data.worlds[name], 12) for name, part in config.data.drawn.items()}

    inputs = make_inputs(config)

    manifest, captions = read_manifest(inputs.manifest), read_captions(inputs.captions)
    assert manifest.info["drawn"] == {"world1": 6, "world2": 6}
    for row in manifest.records():
        world, _, name = row.video_id.partition("-")
        assert captions[row.video_id] == texts[world][name]
        assert video_path(inputs.videos, row).is_file()
    core = read_forest(inputs.forest).core(8)
    assert len(core) == 8 and set(core) < set(manifest.video_ids)


def test_the_worlds_of_the_demo_mix_show_no_scene_of_its_benchmark() -> None:
    data = composed("data=demo_mix").data
    asked = scenes_of(item.video for item in make_world(data.world).benchmark)
    worlds = [data.worlds[name] for name in data.sources]
    assert data.is_made_on_the_way and worlds[0] == data.demo_world == data.world and len(worlds) == 3
    assert all(asked.isdisjoint(scenes_of(make_world(world).corpus)) for world in worlds)


def test_messages_name_the_file_of_settings_that_selects_the_data(tmp_path: Path) -> None:
    config = replace(mixed(tmp_path), name="set")
    assert data_words(config) == "data=mix data.name=set"
    config.option = "my_mix"
    assert data_words(config) == "data=my_mix data.name=set"
    config.option = "set"
    assert data_words(config) == "data=set"


def test_mistakes_of_the_user_are_one_sentence(tmp_path: Path) -> None:
    part = source(tmp_path, "a", ["a0"])
    with pytest.raises(ConfigError, match="names no source"):
        scan(mixed(tmp_path))
    with pytest.raises(MissingInputError, match=r"python -m sg\.sources data=b"):
        scan(mixed(tmp_path, sources={"b": MixPart(str(tmp_path / "none"))}))
    with pytest.raises(ConfigError, match=r"data\.size=2 is more than the 1 usable videos"):
        scan(mixed(tmp_path, sources={"a": part}, size="2"))
    with pytest.raises(ConfigError, match="name a folder above"):
        scan(mixed(tmp_path, sources={"a": MixPart(part.dir, videos="/elsewhere")}))
    with pytest.raises(ConfigError, match=r"There is no folder .*data\.sources\.a\.videos=DIR"):
        scan(mixed(tmp_path, sources={"a": MixPart(part.dir, videos=str(tmp_path / "videos" / "none"))}))
    with pytest.raises(ConfigError, match="names videos"):
        mixed(tmp_path, sources={"a/b": part})
    for weights in ([1.0, None], [-1.0, 1.0], [float("nan"), 1.0]):
        with pytest.raises(ConfigError, match="has the weights"):
            mixed(tmp_path, sources={str(n): MixPart("x", weight) for n, weight in enumerate(weights)})
