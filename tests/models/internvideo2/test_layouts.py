"""Weights are loaded from all published layouts; wrong files are refused with a reason."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sg.core.errors import MissingInputError, ModelError
from sg.models.internvideo2.checkpoint import TowerChoice, load_internvideo2
from tests.models.internvideo2 import goldens
from tests.models.internvideo2.goldens import close, pixels

State = dict[str, Tensor]


def deepspeed(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The container of the Stage-2 file: bfloat16, sizes in an ordered dictionary, a set."""
    return {
        "module": OrderedDict((name, value.bfloat16()) for name, value in state.items()),
        "buffer_names": ["text_encoder.bert.embeddings.position_ids"],
        "param_shapes": [OrderedDict((name, value.shape) for name, value in state.items())],
        "frozen_param_fragments": None,
        "sparse_tensor_module_names": set(),
        "ds_version": "0.12.3",
        "global_steps": 7,
        "lr_scheduler": {"last_lr": [1e-5]},
    }


def tower_alone(state: State) -> State:
    """Names without prefix, as in Stage 1 and the distilled towers; those of the projection do not change."""
    return {name.removeprefix("vision_encoder."): value for name, value in state.items()}


LAYOUTS: dict[str, Callable[[State], Any]] = {
    "the weights themselves": lambda state: state,
    "under model": lambda state: {"model": state, "epoch": 3},
    "under module": lambda state: {"module": state},
    "every name with module.": lambda state: {f"module.{name}": value for name, value in state.items()},
    "under model, every name with module.": lambda state: {"model": {f"module.{n}": v for n, v in state.items()}},
    "bare names": tower_alone,
    "an ordered dictionary": OrderedDict,
}


def stage2_vectors(path: Path, head: Path | None = None, choice: TowerChoice | None = None) -> Tensor:
    model = load_internvideo2(path, head, choice or goldens.stage2_choice())
    return model(pixels(goldens.load("stage2_tiny_io.safetensors"), "video"))


def golden_vectors() -> Tensor:
    return goldens.load("stage2_tiny_io.safetensors")["video.tanh.embedding"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_a_stage_2_file_loads_in_every_layout(layout: Callable[[State], Any], zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(layout(goldens.load(goldens.STAGE2.name)), path, _use_new_zipfile_serialization=zipped)
    close(stage2_vectors(path), golden_vectors())


def test_a_deepspeed_container_of_bfloat16_loads_without_running_code(tmp_path: Path) -> None:
    path = tmp_path / "mp_rank_00_model_states.pt"
    torch.save(deepspeed(goldens.load(goldens.STAGE2.name)), path)
    model = load_internvideo2(path, None, goldens.stage2_choice())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    close(stage2_vectors(path), golden_vectors(), atol=1e-2)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("as_safetensors", [False, True], ids=["bin", "safetensors"])
def test_a_distilled_tower_takes_its_pool_and_projection_from_the_head(
    prefix: str, as_safetensors: bool, tmp_path: Path
) -> None:
    files = []
    for source in (goldens.CLIP_TOWER, goldens.CLIP_HEAD):
        state = {f"{prefix}{name}": value for name, value in goldens.load(source.name).items()}
        files.append(tmp_path / f"{source.stem}{'.safetensors' if as_safetensors else '.bin'}")
        save_file(state, files[-1]) if as_safetensors else torch.save({"module": state} if prefix else state, files[-1])
    io = goldens.load("clip_small_tiny_io.safetensors")
    close(load_internvideo2(*files, goldens.clip_choice())(pixels(io, "video")), io["video.tanh.embedding"])


def test_the_1b_clip_model_is_the_stage_2_tower_with_another_pool_and_no_projection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = goldens.load(goldens.STAGE2.name)
    pool = {name: value.roll(1, 0).bfloat16() for name, value in state.items() if "clip_projector." in name}
    torch.save(pool | {"temp": torch.tensor(0.01), "text_encoder.lora": torch.ones(2)}, tmp_path / "1B_clip.pth")
    choice = replace(goldens.stage2_choice(), projection="none")

    model = load_internvideo2(goldens.STAGE2, tmp_path / "1B_clip.pth", choice)

    assert caplog.records == []  # the weights of a Stage-2 file that CLIP does not use are not reported
    assert model.joint_dim == 32
    assert not model.vision_encoder.sizes.has_image_table  # pictures take the mean over time
    name = "vision_encoder.clip_projector.cross_attn.q.weight"
    close(model.state_dict()[name], pool[name].float(), atol=0)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    state = goldens.load(goldens.STAGE2.name)
    gone = ["vision_encoder.blocks.1.ls2.gamma", "vision_proj.bias", "vision_encoder.clip_projector.norm1_k.weight"]
    save_file({name: value for name, value in state.items() if name not in gone}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        stage2_vectors(tmp_path / "w.safetensors")
    assert all(name in str(caught.value) for name in ["lacks 3 weights", *gone])


@pytest.mark.parametrize("name", ["pos_embed", "patch_embed.proj.weight"])
def test_a_missing_weight_that_determines_the_size_is_named(name: str, tmp_path: Path) -> None:
    state = goldens.load(goldens.STAGE2.name)
    del state[f"vision_encoder.{name}"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=name):
        stage2_vectors(tmp_path / "w.safetensors")


def test_misshaped_weights_are_named_with_both_shapes(tmp_path: Path) -> None:
    state = goldens.load(goldens.STAGE2.name)
    state["vision_encoder.blocks.2.mlp.fc2.weight"] = torch.zeros(48, 192)
    state["vision_encoder.cls_token"] = torch.zeros(1, 48)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        stage2_vectors(tmp_path / "w.safetensors")
    assert "fc2.weight [48, 192] instead of [48, 209]" in str(caught.value)
    assert "cls_token [1, 48] instead of [1, 1, 48]" in str(caught.value)


def test_a_published_width_with_too_few_blocks_is_a_truncated_file(tmp_path: Path) -> None:
    cube = torch.zeros(384, 3, 1, 14, 14)
    state = {"patch_embed.proj.weight": cube, "pos_embed": torch.zeros(1, 1 + 8 * 256, 384)}
    state |= {f"blocks.{number}.ls1.gamma": torch.zeros(384) for number in range(11)}
    torch.save(state, tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"lacks \d+ weights"):
        load_internvideo2(tmp_path / "w.bin", None, TowerChoice("vision_align"))


def test_a_missing_projection_of_another_family_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"vision_align\.0\.weight"):
        stage2_vectors(goldens.STAGE2, choice=replace(goldens.stage2_choice(), projection="vision_align"))


def test_heads_and_frames_that_the_weights_do_not_determine_are_required(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"embedder\.num_heads"):
        stage2_vectors(goldens.STAGE2, choice=TowerChoice("vision_proj"))
    clip = replace(goldens.clip_choice(), frames_hint=3)
    with pytest.raises(ModelError, match=r"129 entries .*embedder\.trained_frames"):
        load_internvideo2(goldens.CLIP_TOWER, goldens.CLIP_HEAD, clip)
    given = load_internvideo2(goldens.CLIP_TOWER, goldens.CLIP_HEAD, replace(clip, trained_frames=8))
    assert (given.vision_encoder.sizes.num_frames, given.vision_encoder.sizes.grid) == (8, 4)


def test_unknown_weights_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = goldens.load(goldens.STAGE2.name) | {"vision_encoder.blocks.0.attn.qkv.bias": torch.zeros(144)}
    save_file(state, tmp_path / "w.safetensors")
    stage2_vectors(tmp_path / "w.safetensors")
    assert [record.getMessage() for record in caplog.records] == [
        "w.safetensors: 1 weights are not used: vision_encoder.blocks.0.attn.qkv.bias"
    ]


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this code ran",)


def test_files_without_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"module": {"x": Payload()}}, tmp_path / "code.pt")
    torch.save({"optimizer": {"step": 3}}, tmp_path / "optimizer.pt")
    (tmp_path / "page.pt").write_text("<html>Sign in</html>")
    (tmp_path / "short.pt").write_bytes(goldens.STAGE2.read_bytes()[:1000])
    (tmp_path / "short.safetensors").write_bytes(goldens.STAGE2.read_bytes()[:1000])
    for name in ("code.pt", "optimizer.pt", "page.pt", "short.pt", "short.safetensors"):
        with pytest.raises(ModelError, match=name):
            stage2_vectors(tmp_path / name)
    with pytest.raises(MissingInputError):
        stage2_vectors(tmp_path / "none.pt")
    assert "this code ran" not in capsys.readouterr().out
