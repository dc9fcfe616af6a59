"""A mix takes its sources by weight; a larger mix begins with the smaller one."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg.artefacts.manifest import VideoRecord, read_manifest, video_path, write_manifest
from sg.core.errors import ConfigError, MissingInputError
from sg.sources.config import MixDataConfig, MixPart
from sg.sources.manifests import scan
from sg.sources.mix import draw_order

SIZES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1)
WEIGHTS = st.fixed_dictionaries({name: st.floats(0.1, 10) for name in "abc"})


def ids_of(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {name: [f"{name}{number}" for number in range(size)] for name, size in sizes.items()}


@settings(deadline=None)
@given(SIZES, WEIGHTS, st.integers(0, 5))
def test_every_beginning_of_the_order_has_the_shares_of_the_weights(
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
def test_videos_that_are_added_to_a_source_change_the_order_of_no_others(
    sizes: dict[str, int], weights: dict[str, float], more: int
) -> None:
    def queue(ids: dict[str, list[str]], name: str) -> list[str]:
        return [ids[name][row] for source, row in draw_order(ids, weights, 0) if source == name]

    small, large = ids_of(sizes), ids_of({name: size + more for name, size in sizes.items()})
    for name in sizes:
        known = set(small[name])
        assert queue(small, name) == [video for video in queue(large, name) if video in known]


def source(tmp_path: Path, name: str, ids: list[str], **info: Any) -> MixPart:
    films = tmp_path / "films" / name
    films.mkdir(parents=True)
    rows = []
    for video in ids:
        (films / f"{video}.mp4").touch()
        extra = '{"youtube_id": "dQw4w9WgXcQ"}' if video.endswith("0") else "{}"
        rows.append(VideoRecord(video, name, f"{video}.mp4", original_caption=f"{name} {video}", extra=extra))
    rows.append(VideoRecord(f"broken-{name}", name, "", status="unreadable", reason="x"))
    write_manifest(tmp_path / "work" / name / "manifest.parquet", rows, {"videos": str(films), **info})
    return MixPart(dir=str(tmp_path / "work" / name))


def mixed(tmp_path: Path, **values: Any) -> MixDataConfig:
    return MixDataConfig(name="mix", dir=str(tmp_path / "work" / "mix"), videos=str(tmp_path / "films"), **values)


def test_a_mix_holds_usable_videos_once_with_paths_from_its_own_folder(tmp_path: Path) -> None:
    parts = {
        "a": source(tmp_path, "a", [f"a{n}" for n in range(9)] + ["both"]),
        "b": source(tmp_path, "b", ["b0", "b1", "both"]),
    }
    manifest = read_manifest(scan(mixed(tmp_path, sources=parts)))
    assert sorted(manifest.video_ids) == sorted([f"a{n}" for n in range(9)] + ["b0", "b1", "both"])
    rows = {row.video_id: row for row in manifest.records()}
    assert rows["both"].original_caption == "a both"
    assert all(video_path(tmp_path / "films", row).is_file() for row in rows.values())
    assert manifest.info["drawn"] == {"a": 10, "b": 2}
    assert manifest.info["youtube_films_of_several_sources"] == 1

    sizes = {}
    for size in ("4", "8"):
        config = mixed(tmp_path, size=size, sources={name: MixPart(part.dir, 1.0) for name, part in parts.items()})
        sizes[size] = read_manifest(scan(config)).video_ids
    assert sizes["8"][:4] == sizes["4"]
    assert sum(video.startswith("b") and video != "both" for video in sizes["4"]) == 2


def test_what_the_user_got_wrong_is_told(tmp_path: Path) -> None:
    part = source(tmp_path, "a", ["a0"])
    with pytest.raises(ConfigError, match="names no source"):
        scan(mixed(tmp_path))
    with pytest.raises(MissingInputError, match=r"python -m sg\.sources data=b"):
        scan(mixed(tmp_path, sources={"b": MixPart(str(tmp_path / "none"))}))
    with pytest.raises(ConfigError, match=r"data\.size=2 is more than the 1 usable videos"):
        scan(mixed(tmp_path, sources={"a": part}, size="2"))
    with pytest.raises(ConfigError, match="name a folder above"):
        scan(mixed(tmp_path, sources={"a": MixPart(part.dir, videos="/elsewhere")}))
    for weights in ([1.0, None], [-1.0, 1.0], [float("nan"), 1.0]):
        with pytest.raises(ConfigError, match="has the weights"):
            mixed(tmp_path, sources={str(n): MixPart("x", weight) for n, weight in enumerate(weights)})
