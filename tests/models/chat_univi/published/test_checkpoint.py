from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sg.core.errors import MissingInputError, ModelError
from sg.models.chat_univi.build import build_model, load_checkpoint
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.published.checkpoint import (
    export_projector,
    load_projector,
    load_reference_checkpoint,
    write_reference_files,
)
from tests.models.chat_univi.goldens import GOLDENS, model_inputs, read_json, shared_model, tensors
from tests.models.chat_univi.test_build import parts

LAYOUTS = [(size, safetensors) for size in ("10MB", "300KB") for safetensors in (True, False)]


def published(folder: Path, weights: dict[str, torch.Tensor] | None = None, **config: Any) -> Path:
    """A checkpoint folder in the published layout, with the golden model."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(read_json("model_a/config.json") | config))
    shutil.copy(GOLDENS / "model_a" / "vision_config.json", folder)
    save_file(weights or tensors("model_a/weights.safetensors"), folder / "model.safetensors")
    return folder


def all_weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found |= load_file(path)
        elif path.suffix == ".bin" and path.name != "mm_projector.bin":
            found |= torch.load(path, weights_only=True)
    return found


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(("shard_size", "safetensors"), LAYOUTS)
def test_a_round_trip_returns_all_tensors_bit_for_bit(tmp_path: Path, shard_size: str, safetensors: bool) -> None:
    model = load_reference_checkpoint(published(tmp_path / "published"))
    write_reference_files(model, new_folder(tmp_path / "out"), shard_size, safetensors, tower_name="openai_tiny")
    wanted, found = tensors("model_a/weights.safetensors"), all_weights(tmp_path / "out")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == wanted[key].dtype for key in wanted)
    original, exported = read_json("model_a/config.json"), json.loads((tmp_path / "out" / "config.json").read_text())
    assert {key: exported.get(key) for key in original} == original
    again = load_reference_checkpoint(tmp_path / "out")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize("safetensors", [True, False])
def test_a_model_with_tied_embeddings_is_read_back(tmp_path: Path, safetensors: bool) -> None:
    model = build_model(parts(tmp_path, tied=True))
    model.save_pretrained(tmp_path / "ours")
    write_reference_files(model, new_folder(tmp_path / "out"), "10MB", safetensors, tower_name="openai_tiny")
    for folder in ("ours", "out"):
        again = load_checkpoint(str(tmp_path / folder))
        assert again.lm_head.weight is again.model.embed_tokens.weight
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_loaded_checkpoint_gives_the_golden_logits(tmp_path: Path) -> None:
    golden = tensors("model_a/image_one.safetensors")
    model = load_reference_checkpoint(published(tmp_path / "published"))
    with torch.no_grad():
        logits = model(**model_inputs(golden), return_logits=True).logits
    torch.testing.assert_close(logits[:, -golden["logits"].shape[1] :], golden["logits"], atol=1e-5, rtol=0)


def test_our_own_layout_round_trips(tmp_path: Path) -> None:
    model = shared_model("model_a")
    model.save_pretrained(tmp_path)
    again = ChatUniViForConditionalGeneration.from_pretrained(tmp_path)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
    assert again.merging == model.merging and again.config.vision_select_layer == -2


def test_the_type_of_the_file_is_kept_unless_dtype_is_given(tmp_path: Path) -> None:
    half = {key: value.to(torch.bfloat16) for key, value in tensors("model_a/weights.safetensors").items()}
    folder = published(tmp_path / "half", half)
    kept, raised = load_reference_checkpoint(folder), load_reference_checkpoint(folder, dtype=torch.float32)
    assert kept.dtype == torch.bfloat16 and raised.dtype == torch.float32
    write_reference_files(kept, new_folder(tmp_path / "out"), tower_name="openai_tiny")
    assert all(torch.equal(value, half[key]) for key, value in all_weights(tmp_path / "out").items())


def test_a_separate_projector_file_is_found_or_given(tmp_path: Path) -> None:
    weights = tensors("model_a/weights.safetensors")
    projector = {key: weights.pop(key) for key in list(weights) if "mm_projector" in key}
    folder = published(tmp_path / "stage1", weights)
    with pytest.raises(ModelError, match=r"2 missing \(model.mm_projector.bias, model.mm_projector.weight\)"):
        load_reference_checkpoint(folder)
    torch.save({key: value + 1 for key, value in projector.items()}, folder / "mm_projector.bin")
    found = load_reference_checkpoint(folder)
    assert torch.equal(found.mm_projector.bias, projector["model.mm_projector.bias"] + 1)
    torch.save(projector, tmp_path / "mine.bin")
    given = load_reference_checkpoint(folder, projector=tmp_path / "mine.bin")
    assert torch.equal(given.mm_projector.bias, projector["model.mm_projector.bias"])
    export_projector(found, tmp_path / "exported.bin")
    load_projector(given, tmp_path / "exported.bin")
    assert torch.equal(given.mm_projector.weight, found.mm_projector.weight)


def test_the_tower_can_come_from_its_own_folder(tmp_path: Path) -> None:
    weights = tensors("model_a/weights.safetensors")
    prefix = "model.vision_tower.vision_tower."
    tower = {key.removeprefix(prefix): weights.pop(key) for key in list(weights) if key.startswith(prefix)}
    folder = published(tmp_path / "without_tower", weights)
    with pytest.raises(ModelError, match="vision_model"):
        load_reference_checkpoint(folder)
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text(
        json.dumps({"vision_config": read_json("model_a/vision_config.json")})
    )
    save_file(
        tower | {"logit_scale": torch.ones(1), "text_model.x": torch.ones(1)}, tmp_path / "clip" / "model.safetensors"
    )
    model = load_reference_checkpoint(folder, tower=tmp_path / "clip")
    wanted = shared_model("model_a").state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())


def test_missing_unexpected_and_misshaped_keys_are_one_sentence(tmp_path: Path) -> None:
    weights = tensors("model_a/weights.safetensors")
    del weights["model.norm.weight"]
    weights["model.extra"] = torch.ones(1)
    weights["lm_head.weight"] = weights["lm_head.weight"][:, :-1].contiguous()
    pattern = (
        r"1 missing \(model.norm.weight\); 1 unexpected \(model.extra\); 1 of another shape \(lm_head.*\[300, 95\]"
    )
    with pytest.raises(ModelError, match=pattern):
        load_reference_checkpoint(published(tmp_path / "broken", weights))
    with pytest.raises(ModelError, match="of another shape"):
        load_reference_checkpoint(published(tmp_path / "wide", hidden_size=128))


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo never run",)


def test_damaged_files_and_pickles_with_code_are_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "published")
    write_reference_files(load_reference_checkpoint(folder), new_folder(tmp_path / "b"), "300KB", False, "openai_tiny")
    shard = sorted((tmp_path / "b").glob("pytorch_model-*.bin"))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=f"{shard.name} is truncated"):
        load_reference_checkpoint(tmp_path / "b")
    shard.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ModelError, match="holds more than tensors"):
        load_reference_checkpoint(tmp_path / "b")
    shard.unlink()
    with pytest.raises(MissingInputError, match=f"lacks 1 of .* shards, first {shard.name}"):
        load_reference_checkpoint(tmp_path / "b")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="truncated or not a safetensors"):
        load_reference_checkpoint(folder)
    path.unlink()
    with pytest.raises(MissingInputError, match="holds no model weights"):
        load_reference_checkpoint(folder)


def test_an_unknown_tower_asks_for_its_config(tmp_path: Path) -> None:
    folder = published(tmp_path / "published")
    (folder / "vision_config.json").unlink()
    with pytest.raises(ModelError, match="unknown vision tower 'openai_tiny'"):
        load_reference_checkpoint(folder)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"hidden_size": 97}, "hidden size .97. is not a multiple"),
        ({"hidden_size": "96"}, "expected int, got str"),
        ({"mm_hidden_size": 65}, "mm_hidden_size 65, but its tower is 64 wide"),
        ({"config": {"spatial_cluster_rate0": "many"}}, "describes a model that cannot be built"),
        ({"vocab_size": 301}, "2 of another shape"),
        ({"mm_vision_select_layer": 9}, "select_layer is 9"),
    ],
)
def test_a_config_that_contradicts_itself_or_the_weights_is_one_sentence(
    tmp_path: Path, setting: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        load_reference_checkpoint(published(tmp_path / "published", **setting))
    assert "\n" not in str(caught.value)


def test_missing_weights_of_a_stage_checkpoint_are_not_initialised_at_random(tmp_path: Path) -> None:
    shared_model("model_a").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({key: value for key, value in weights.items() if key != "mm_projector.bias"}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of the model's weights, first mm_projector\.bias"):
        load_checkpoint(str(tmp_path))
    save_file(weights | {"mm_projector.bias": torch.ones(5)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_checkpoint(str(tmp_path))
    save_file(weights, file, {"format": "pt"})
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_checkpoint(str(tmp_path))
