"""Distribution of a stage over devices: Lightning's strategies, and sharding of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sg.train.config import TrainerConfig

if TYPE_CHECKING:
    from pytorch_lightning.strategies import Strategy
    from torch.distributed.device_mesh import DeviceMesh

    from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration


def lightning_strategy(config: TrainerConfig) -> Strategy | str:
    """Lightning's strategy for `trainer.strategy`. FSDP is PyTorch's second version, which also runs on CPUs."""
    from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

    if config.shards:
        return ModelParallelStrategy(
            data_parallel_size=config.devices, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    # Gradients as views of the buckets save one copy of all gradients. The model's buffers are constants and need no
    # broadcast.
    return DDPStrategy(gradient_as_bucket_view=True, broadcast_buffers=False) if config.devices > 1 else "auto"


def shard(network: nn.Module, model: ChatUniViForConditionalGeneration, mesh: DeviceMesh, precision: str) -> None:
    """Shard the weights of `network`, which wraps `model`, over the devices of `mesh`.

    One group per layer of the language model, one for the tower, one for the rest. Under `bf16-mixed` the shards are
    float32, gathered weights and products are bfloat16, and gradients are summed in float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        model.model.float()
        model.lm_head.float()
        model.mm_projector.float()
    fully_shard(model.vision_tower, mesh=mesh)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(network, mesh=mesh, mp_policy=policy)


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole state of a sharded model on the CPU in the leading process, {} in the others. All must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    return state
