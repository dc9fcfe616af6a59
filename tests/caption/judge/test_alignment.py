"""An image-text model as a judge: tiny random CLIP and SigLIP models, read as published ones are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg.artefacts.captions import read_captions
from sg.artefacts.judged import judged_path, read_judged
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.captioners import captioner_of
from sg.caption.judge.alignment import ImageTextModel
from sg.caption.judge.run import judge_captions
from sg.caption.local.demo import DemoCaptionerConfig
from sg.core.errors import ConfigError, MissingInputError, ModelError
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from sg.video.writer import write_video
from tests.caption.judge.test_facts import drawn
from tests.study.commands import ROOT

CSV = LoggerConfig(kind="csv")
NOISY = DemoCaptionerConfig(noise="wrong_attribute", noise_rate=0.05)


def saved(folder: Path, family: str, positions: int = 300) -> str:
    """A random model of 32 pixels with the demo's tokenizer, in a folder as the hub has them."""
    import torch
    from transformers import (
        AutoTokenizer,
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
    )

    torch.manual_seed(0)
    loader: Any = AutoTokenizer
    tokenizer = loader.from_pretrained(ROOT / "sg/demo/assets/language_model")
    tokenizer.pad_token = tokenizer.eos_token
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    text = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": positions, **ends}
    if family == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def data_with(folder: Path, count: int) -> DataConfig:
    rows, draw = [], np.random.default_rng(0)
    folder.mkdir()
    for name, spec in drawn(count).items():
        write_video(folder / f"{name}.mp4", draw.integers(0, 255, (4, 48, 64, 3), np.uint8), 2)
        rows.append(VideoRecord(name, "demo", f"{name}.mp4", 2.0, 64, 48, 2.0, 4, extra=spec.to_json()))
    write_manifest(folder / "manifest.parquet", rows)
    return DataConfig(name="demo", dir=str(folder), videos=str(folder))


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_alignment_is_a_column_beside_the_captions_and_of_each_claim(tmp_path: Path, family: str) -> None:
    import pyarrow.parquet as pq

    checkpoint, data = saved(tmp_path / "model", family), data_with(tmp_path / "data", 6)
    text = judge_captions(data, NOISY, None, CSV, model=checkpoint)
    captions = captioner_of(NOISY).captions(data)
    path = judged_path(captions, "alignment")
    rows = list(read_judged(path))
    assert pq.read_table(path)["alignment"].to_pylist() == [row.alignment for row in rows]
    assert [row.video_id for row in rows] == list(read_captions(captions)) and f"{path}" in text
    assert all(-1 <= row.alignment <= 1 and len(row.claim_alignments) == len(row.claims) > 5 for row in rows)
    assert len({row.alignment for row in rows}) == 6 and len(set(rows[0].claim_alignments)) > 3
    assert "of the judge's alignment" in text and "precision" not in text


def test_the_scores_are_those_of_the_model_on_the_same_frames_and_texts(tmp_path: Path) -> None:
    import torch
    from torch.nn.functional import normalize

    model = ImageTextModel(saved(tmp_path / "model", "clip"))
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), np.uint8)
    whole, (claim,) = model.scores(frames, "a red ball", ["one green ring"])
    with torch.inference_mode():
        pixels = model._pictures(images=list(frames), return_tensors="pt")
        seen = normalize(model._model.get_image_features(**pixels).pooler_output, dim=-1)
        ids = [model._tokenizer(text, return_tensors="pt")["input_ids"] for text in ("a red ball", "one green ring")]
        said = [normalize(model._model.get_text_features(input_ids=one).pooler_output, dim=-1)[0] for one in ids]
    assert whole == pytest.approx(float(normalize(seen.mean(0), dim=0) @ said[0]), abs=1e-5)
    assert claim == pytest.approx(float((seen @ said[1]).max()), abs=1e-5)


def test_a_stopped_run_keeps_its_rows_and_other_captions_are_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint, data = saved(tmp_path / "model", "clip", positions=20), data_with(tmp_path / "data", 5)
    (tmp_path / "data" / "v4.mp4").write_bytes(b"broken")
    seen, scores = list[str](), ImageTextModel.scores

    def stopping(self: ImageTextModel, frames: Any, caption: str, claims: Any) -> Any:
        seen.append(caption)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return scores(self, frames, caption, claims)

    monkeypatch.setattr(ImageTextModel, "scores", stopping)
    with pytest.raises(KeyboardInterrupt):
        judge_captions(data, NOISY, None, CSV, model=checkpoint)
    journal = next((tmp_path / "data").rglob("judged-alignment.rows.jsonl"))
    with journal.open("a") as stream:
        stream.write('["cut')
    with caplog.at_level(logging.WARNING):
        judge_captions(data, NOISY, None, CSV, model=checkpoint)
    assert len(seen) == 5, "two videos were kept, one of them broken, and two were missing"
    rows = list(read_judged(judged_path(captioner_of(NOISY).captions(data), "alignment")))
    assert [row.video_id for row in rows] == ["v0", "v1", "v2", "v3"]
    assert "v4 is left out" in caplog.text and "longer than the 20 tokens" in caplog.text
    judge_captions(data, DemoCaptionerConfig(), None, CSV, model=checkpoint)
    assert len(seen) == 9


def test_another_kind_of_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = data_with(tmp_path / "data", 1)
    for model, error, words in (
        (str(ROOT / "sg/demo/assets/language_model"), ModelError, "type 'llama'"),
        (str(ROOT / "sg/demo/assets/vision_tower"), ModelError, "type 'clip_vision_model'"),
        ("nobody/nothing", MissingInputError, "alignment"),
    ):
        with pytest.raises(error, match=words):
            judge_captions(data, NOISY, None, CSV, model=model)
    with pytest.raises(ConfigError, match="gives no verdicts"):
        judge_captions(data, NOISY, NOISY, CSV, model="x")
