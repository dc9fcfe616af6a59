"""Distribution of a stage over devices: Lightning's strategies, and sharding of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sg.models.student import VISION, Student, part_of
from sg.train.config import TrainerConfig

if TYPE_CHECKING:
    from pytorch_lightning.strategies import Strategy
    from torch.distributed.device_mesh import DeviceMesh


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


def shard(network: nn.Module, student: Student, mesh: DeviceMesh, precision: str) -> None:
    """Shard the weights of `network`, which wraps `student.module`, over the devices of `mesh`.

    One group per block of the student, one for the rest. Under `bf16-mixed` the shards are float32, gathered weights
    and products are bfloat16, and gradients are summed in float32. A frozen vision tower keeps its type.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model = student.module
    learns = {part_of(student.parts, name) for name, value in model.named_parameters() if value.requires_grad}

    def keeps_type(name: str) -> bool:
        return part_of(student.parts, name) == VISION and VISION not in learns

    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.is_floating_point() and not keeps_type(name):
                value.data = value.data.float()
    for name in student.blocks:
        own = MixedPrecisionPolicy() if keeps_type(name) else policy
        fully_shard(model.get_submodule(name), mesh=mesh, mp_policy=own)
    fully_shard(network, mesh=mesh, mp_policy=policy)


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole state of a sharded model on the CPU in the leading process, {} in the others. All must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    return state
