"""The memory formula of plans agrees with rehearsals, and both with what a real layer keeps."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from sg.models.chat_univi.abstractor import MergeSettings
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.sizes import composite_size
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.sizes import ModelSize
from sg.study.planning.memory import layer_values, stage_memory
from sg.train.config import LoraConfig, StageConfig, TrainerConfig, TypicalSample
from sg.train.rehearsal.stage import rehearse_stage

TEXT = {"model_type": "llama", "vocab_size": 8000, "hidden_size": 1024, "intermediate_size": 2752,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2}  # fmt: skip
TOWER = {"model_type": "clip_vision_model", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
         "num_attention_heads": 4, "image_size": 64, "patch_size": 16}  # fmt: skip
MERGING = MergeSettings(clusters=(8, 4, 2), temporal_rate=0.125)
WHOLE, CONNECTOR = ["connector", "language_model"], ["connector"]
WIDE, HALF = torch.float32, torch.bfloat16
SHARDED: dict[str, Any] = {"strategy": "fsdp", "devices": 8}


@cache
def size() -> ModelSize:
    return composite_size(TEXT, TOWER, MERGING)


def blank(dtype: torch.dtype) -> ChatUniViStudent:
    config = ChatUniViConfig(
        text_config=TEXT, vision_config=TOWER, spatial_clusters=[8, 4, 2], temporal_cluster_rate=0.125
    )
    with torch.device("meta"):
        return ChatUniViStudent(ChatUniViForConditionalGeneration(config).to(dtype))


@pytest.mark.parametrize(
    ("trains", "peft", "base", "machine"),
    [
        (WHOLE, "none", WIDE, SHARDED),
        (CONNECTOR, "none", WIDE, SHARDED),
        (WHOLE, "none", WIDE, {**SHARDED, "nodes": 2, "devices": 4}),
        (WHOLE, "none", WIDE, {"devices": 1}),
        (WHOLE, "none", WIDE, {"devices": 2}),
        (WHOLE, "lora", WIDE, {"devices": 1}),
        (WHOLE, "lora", WIDE, {"devices": 1, "precision": "bf16-true"}),
        (WHOLE, "qlora", WIDE, {"devices": 1}),
        (WHOLE, "qlora", HALF, {"devices": 1}),
        (WHOLE, "qlora", HALF, {"devices": 2, "precision": "bf16-true"}),
    ],
    ids=["sharded", "connector", "two nodes", "alone", "ddp", "adapters", "adapters, all halved",
         "4 bits of float32", "4 bits", "4 bits, ddp"],
)  # fmt: skip
def test_the_plan_is_within_a_tenth_of_the_rehearsal(
    trains: list[str], peft: str, base: torch.dtype, machine: dict[str, Any]
) -> None:
    stage = StageConfig(
        name="caption", trains=trains, peft=peft, lora=LoraConfig(rank=16), batch_size=16, micro_batch_size=2,
        loss_samples=2, typical=TypicalSample(text_tokens=500, answer_tokens=60, frames=8),
    )  # fmt: skip
    trainer = TrainerConfig(
        **{"accelerator": "gpu", "precision": "bf16-mixed", "packed": True, "gradient_checkpointing": True} | machine
    )
    found = rehearse_stage(stage, trainer, lambda: blank(base))
    planned = replace(size(), weight_bytes=base.itemsize)
    assert stage_memory(trainer, planned, stage) == pytest.approx(found.peak, rel=0.1), found.memory


def test_a_layer_keeps_what_the_formula_counts() -> None:
    config = LlamaConfig(hidden_size=64, intermediate_size=160, num_attention_heads=4, num_key_value_heads=2)
    config._attn_implementation = "sdpa"
    layer = LlamaDecoderLayer(config, 0).bfloat16()
    hidden = torch.randn(1, 256, 64, dtype=torch.bfloat16, requires_grad=True)
    positions = LlamaRotaryEmbedding(config)(hidden, torch.arange(256)[None])
    kept: dict[int, int] = {}
    skipped = {value.untyped_storage().data_ptr() for value in (hidden, *positions, *layer.parameters())}

    def keep(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in skipped:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        result = layer(hidden, position_embeddings=positions)
    text = {**TEXT, "hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2}
    stage, trainer = StageConfig(trains=WHOLE, name="caption"), TrainerConfig(precision="bf16-mixed")
    assert result is not None
    assert layer_values(trainer, composite_size(text, TOWER, MERGING), stage)[0] * 256 == pytest.approx(
        sum(kept.values()), rel=0.08
    )
