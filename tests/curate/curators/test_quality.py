"""Curators that use the scores of a judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.forest import check_forest
from sg.artefacts.judged import FALSE, TRUE, UNCLEAR, JudgedCaption, write_judged
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.identity import identity
from sg.curate.curators.quality import QualityConfig
from sg.curate.curators.quality_tome import QualityTomeConfig
from sg.curate.tome.merge import merge_videos
from sg.curate.tome.settings import TomeConfig
from tests.curate.builders import clumpy_videos, curated_forest


def judged_file(folder: Path, ids: list[str], seed: int = 0) -> str:
    """Verdicts on four claims per video, drawn at random; the first video has none that is decided."""
    draw = np.random.default_rng(seed)
    rows = [
        JudgedCaption(
            name, "x", ("a", "b", "c", "d"), tuple(draw.choice([TRUE, FALSE], 4)) if number else (UNCLEAR,) * 4
        )
        for number, name in enumerate(ids)
    ]
    return str(write_judged(folder / f"judged-{seed}.parquet", rows, {}))


@pytest.mark.parametrize("kind", [QualityConfig, QualityTomeConfig])
@pytest.mark.parametrize("count", [1, 2, 3, 47, 400])
def test_all_videos_are_ordered_and_the_order_repeats(tmp_path: Path, kind: type, count: int) -> None:
    videos = clumpy_videos(count)
    config = kind(judged=judged_file(tmp_path, [*videos.ids, "another"][::-1]), score="precision")
    forest = curated_forest(config, videos)
    check_forest(forest, tmp_path)
    assert sorted(forest.video_ids) == sorted(videos.ids)
    assert curated_forest(config, videos).content_hash == forest.content_hash


def test_the_worst_captions_are_removed_first_and_unjudged_ones_before_them(tmp_path: Path) -> None:
    videos = clumpy_videos(60)
    judged = [JudgedCaption(name, "x", ("a",) * 60, (TRUE,) * n + (FALSE,) * (60 - n)) for n, name in
              enumerate(videos.ids) if n != 7]  # fmt: skip
    path = str(write_judged(tmp_path / "judged.parquet", judged, {}))
    forest = curated_forest(QualityConfig(judged=path, score="f1"), videos)
    assert forest.video_ids == [videos.ids[7], *(name for n, name in enumerate(videos.ids) if n != 7)]


def test_cores_of_good_captions_are_those_of_tome_among_them(tmp_path: Path) -> None:
    videos = clumpy_videos(200)
    path = judged_file(tmp_path, videos.ids)
    by_score = curated_forest(QualityConfig(judged=path, score="precision"), videos)
    both = curated_forest(QualityTomeConfig(judged=path, score="precision", good_share=0.3), videos)
    assert both.video_ids[:140] == by_score.video_ids[:140], "the worst go by score"
    good = sorted(videos.ids.index(name) for name in by_score.core(60))
    alone = clumpy_videos(200)
    alone = replace(
        alone, ids=[alone.ids[row] for row in good], keys=alone.keys[good], unit=alone.unit[good],
        family=np.array([good.index(next(r for r in good if alone.family[r] == alone.family[row])) for row in good]),
        caption_length=alone.caption_length[good],
    )  # fmt: skip
    removals, _ = merge_videos(alone, TomeConfig())
    assert both.video_ids[140:] == [alone.ids[row] for row in removals.video]
    assert set(both.core(20)) < set(both.core(60)) == set(by_score.core(60))


def test_a_forest_is_named_by_the_scores_and_not_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    ids = [f"v{number}" for number in range(5)]
    paths = [judged_file(tmp_path, ids), judged_file(tmp_path / "moved", ids), judged_file(tmp_path, ids, seed=1)]
    first, moved, other = [identity("curation", settings=QualityConfig(judged=path), version=1).name for path in paths]
    assert first == moved != other


def test_missing_scores_are_one_sentence(tmp_path: Path) -> None:
    videos = clumpy_videos(3)
    with pytest.raises(MissingInputError, match=r"none\.parquet"):
        curated_forest(QualityConfig(judged=str(tmp_path / "none.parquet")), videos)
    with pytest.raises(DataError, match="has no alignment of any caption"):
        curated_forest(QualityConfig(judged=judged_file(tmp_path, videos.ids), score="alignment"), videos)
    with pytest.raises(ConfigError, match=r"curator\.score"):
        QualityConfig(score="beauty")
    with pytest.raises(ConfigError, match="good_share"):
        QualityTomeConfig(good_share=0.0)
