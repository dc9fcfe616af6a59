"""Which captions are held out, and that no arm at any scale trains on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.dialogs import Dialog, Turn, write_dialogs
from sg.artefacts.forest import write_forest
from sg.artefacts.held_out import HELD_OUT_FILE, CaptionLoss, mean_loss, read_caption_losses, write_caption_losses
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.artefacts.vectors import write_vectors_info, write_vectors_part
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import read_json, write_json
from sg.core.identity import identity
from sg.study.config import TrainConfig
from sg.study.held_out import check_held_out, nearest_similarity
from sg.study.inputs import Inputs
from sg.study.stages import CaptionData, caption_data
from sg.train.data.media import ClipFiles
from sg.train.data.samples import clips_of
from tests.artefacts.builders import plain_forest
from tests.repository.test_configs import composed

NUMBER = 600
IDS = [f"v{number:04d}" for number in range(NUMBER)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """600 captioned videos. The first 100 are 50 pairs of near-duplicates, the next 100 have the same caption."""
    folder = tmp_path_factory.mktemp("data")
    vectors = np.random.default_rng(0).normal(size=(NUMBER, 32))
    vectors[1:100:2] = vectors[0:100:2] + 0.01
    texts = [f"caption {'of many' if 100 <= number < 200 else number}" for number in range(NUMBER)]
    write_manifest(
        folder / "manifest.parquet",
        [VideoRecord(video_id=name, source=["even", "odd"][at % 2], path=f"{name}.mp4", duration_s=4.0, width=8,
                     height=8, fps=8.0, num_frames=32) for at, name in enumerate(IDS)],
    )  # fmt: skip
    write_captions(folder / "captions.parquet", [CaptionRecord(*row) for row in zip(IDS, texts, strict=True)])
    for part in range(2):
        rows = slice(part * 300, part * 300 + 300)
        write_vectors_part(folder / "vectors", part, IDS[rows], vectors[rows].astype(np.float32))
    write_vectors_info(folder / "vectors", {"dim": 32})
    write_forest(folder / "forest.parquet", plain_forest(IDS))
    return Inputs(
        folder / "manifest.parquet", folder / "captions.parquet", folder / "vectors", folder / "forest.parquet",
        folder, identity("base_model", settings={}, inputs={}, version=1),
    )  # fmt: skip


def config(data: Inputs, *overrides: str) -> TrainConfig:
    return composed("data=folder", f"data.videos={data.videos}", f"data.dir={data.videos}", *overrides)


def drawn(data: Inputs, *overrides: str) -> CaptionData:
    return caption_data(config(data, *overrides), data)


def names(captions: CaptionData) -> set[str]:
    return {item.dialog.dialog_id for item in captions.items}


def held_out(captions: CaptionData) -> set[str]:
    return {item.dialog.dialog_id for item in captions.held_out.items}


def test_at_most_5_percent_without_near_duplicates_and_repeated_captions_is_held_out(data: Inputs) -> None:
    chosen = held_out(drawn(data))
    assert 15 <= len(chosen) <= 30
    assert chosen.isdisjoint(IDS[:200])
    pairs_allowed = held_out(drawn(data, "data.held_out.max_similarity=1"))
    assert not pairs_allowed.isdisjoint(IDS[:100])
    assert pairs_allowed.isdisjoint(IDS[100:200])


@pytest.mark.parametrize("control", ["none", "random", "shuffled_captions"])
def test_no_arm_trains_on_a_held_out_caption_at_any_scale(data: Inputs, control: str) -> None:
    chosen = held_out(drawn(data))
    for scale, expected in (("100", 100), ("580", 600 - len(chosen)), ("all", 600 - len(chosen))):
        captions = drawn(data, f"data.scale={scale}", f"data.control={control}")
        assert held_out(captions) == chosen
        assert names(captions).isdisjoint(chosen)
        assert len(captions.items) == min(expected, 580)
    texts = {item.dialog.turns[1].text for item in drawn(data).held_out.items}
    assert texts.isdisjoint(item.dialog.turns[1].text for item in captions.items)


@pytest.mark.parametrize("control", ["none", "random", "shuffled_captions"])
def test_no_arm_trains_on_a_video_of_the_user_s_own_held_out_captions(
    data: Inputs, tmp_path: Path, control: str
) -> None:
    turns = (Turn("human", "<video>\nDescribe"), Turn("gpt", "text"))
    write_dialogs(tmp_path / "own.json", [Dialog(name, "video", f"{name}.mp4", turns) for name in IDS[:9]])
    own = [f"data.held_out.dialogs={tmp_path / 'own.json'}", f"data.control={control}"]
    for scale, expected in (("100", 100), ("all", NUMBER - 9)):
        captions = drawn(data, *own, f"data.scale={scale}")
        assert held_out(captions) == set(IDS[:9])
        assert names(captions).isdisjoint(IDS[:9]) and len(captions.items) == expected


def test_held_out_captions_without_a_usable_video_are_one_sentence(data: Inputs, tmp_path: Path) -> None:
    turns = (Turn("human", "<video>\nDescribe"), Turn("gpt", "text"))
    write_dialogs(tmp_path / "own.json", [Dialog("a", "video", "/elsewhere/a.mp4", turns)])
    own = config(data, f"data.held_out.dialogs={tmp_path / 'own.json'}")
    captions = caption_data(own, data).held_out
    media = ClipFiles(tmp_path, None).look(clips_of(captions.items))
    assert not captions.usable(media).items
    with pytest.raises(MissingInputError, match=r"None of the 1 held-out captions .*leads out.*held_out\.dialogs="):
        check_held_out(own, captions, media)


def test_the_equal_step_control_takes_the_steps_that_the_largest_scale_really_has(data: Inputs) -> None:
    largest = drawn(data, "data.scale=all", "stage.caption.epochs=2")
    control = drawn(
        data, "data.scale=100", "data.control=equal_steps", "data.control_scale=all", "stage.caption.epochs=2"
    )
    assert control.num_draws == largest.num_draws == 2 * len(largest.items)


def test_the_baseline_has_the_held_out_captions_too(data: Inputs) -> None:
    assert held_out(drawn(data, "data.scale=0")) == held_out(drawn(data))
    assert {"even", "odd"} == set(drawn(data, "data.scale=0").held_out.sources)


def test_little_data_and_zero_hold_nothing_out(data: Inputs) -> None:
    captions = drawn(data, "data.held_out.videos=0")
    assert (len(captions.items), len(captions.held_out.items)) == (600, 0)
    assert not drawn(data, "data.held_out.videos=19").held_out.items
    with pytest.raises(ConfigError, match=r"data\.held_out\.videos=-1"):
        drawn(data, "data.held_out.videos=-1")


def test_the_draw_is_kept_and_another_setting_draws_again(data: Inputs) -> None:
    folder = data.videos / "held_out"
    drawn(data)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    drawn(data)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    drawn(data, "data.held_out.videos=25")
    assert len(list(folder.iterdir())) == len(before) + 1


def test_the_nearest_similarity_is_that_of_all_pairs(data: Inputs) -> None:
    wanted = [*IDS[:3], *IDS[299:302]]
    from sg.artefacts.vectors import read_vectors

    vectors = read_vectors(data.vectors)
    unit = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    pairs = unit @ unit.T
    np.fill_diagonal(pairs, -1)
    found = nearest_similarity(data.vectors, [*wanted, "absent"])
    assert found.keys() == set(wanted)
    for name in wanted:
        assert found[name] == pytest.approx(float(pairs[vectors.video_ids.index(name)].max()), abs=1e-5)


ROWS = [CaptionLoss("a", "webvid", 10, 12.0), CaptionLoss("b", "webvid", 30, 20.0)]


def test_the_mean_loss_is_per_token_and_per_caption(tmp_path: Path) -> None:
    loss = mean_loss(ROWS)
    assert loss is not None
    assert (loss.captions, loss.tokens, loss.per_token, loss.per_caption) == (2, 40, 0.8, 16.0)
    assert mean_loss([]) is None
    write_caption_losses(tmp_path, ROWS, "model")
    assert read_caption_losses(tmp_path, loss) == ROWS


def test_losses_that_the_result_does_not_record_are_refused(tmp_path: Path) -> None:
    loss = mean_loss(ROWS)
    assert loss is not None
    write_caption_losses(tmp_path, ROWS[:1], "model")
    with pytest.raises(DataError, match="other losses"):
        read_caption_losses(tmp_path, loss)
    write_json(tmp_path / HELD_OUT_FILE, {**read_json(tmp_path / HELD_OUT_FILE), "captions": [{"id": "a"}]})
    with pytest.raises(DataError, match="does not hold held-out losses"):
        read_caption_losses(tmp_path, replace(loss))
