"""Distribution of a stage over devices: Lightning's strategies, and sharding of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sg.models.student import LANGUAGE_MODEL, VISION, Student, part_of
from sg.train.config import TrainerConfig

if TYPE_CHECKING:
    from pytorch_lightning.strategies import Strategy
    from torch.distributed.device_mesh import DeviceMesh


def lightning_strategy(config: TrainerConfig) -> Strategy | str:
    """Lightning's strategy for `trainer.strategy`. FSDP is PyTorch's second version, which also runs on CPUs."""
    from pytorch_lightning.strategies import DDPStrategy

    from sg.train.sharded_checkpoints import ShardedStrategy

    if config.shards:
        return ShardedStrategy(config.world_size)
    # Gradients as views of the buckets save one copy of all gradients. The model's buffers are constants and need no
    # broadcast.
    return DDPStrategy(gradient_as_bucket_view=True, broadcast_buffers=False) if config.world_size > 1 else "auto"


def devices_of(config: TrainerConfig, device_type: str) -> DeviceMesh:
    """The devices over which weights are sharded: those of one node; every node has all weights (hybrid sharding)."""
    from torch.distributed.device_mesh import init_device_mesh

    if config.nodes == 1:
        return init_device_mesh(device_type, (config.devices,), mesh_dim_names=("shard",))
    return init_device_mesh(device_type, (config.nodes, config.devices), mesh_dim_names=("replicate", "shard"))


def shard(network: nn.Module, student: Student, mesh: DeviceMesh, precision: str) -> None:
    """Shard the weights of `network`, which wraps `student.module`, over the devices of `mesh`.

    One group per block of the language model, which runs once in every micro-batch of every device, and one for the
    rest, which is gathered for the whole micro-batch. So all devices gather the same groups in the same order, also if
    only some of them have clips. A frozen vision tower is whole on every device, in its own type.

    Under `bf16-mixed` the shards are float32, gathered weights and products are bfloat16, and gradients are summed in
    float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    model = student.module
    weights = dict(model.named_parameters())
    tower = [name for name in weights if part_of(student.parts, name) == VISION]
    whole = tower if not any(weights[name].requires_grad for name in tower) else []

    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if precision == "bf16-mixed":
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for name, value in [*weights.items(), *model.named_buffers()]:
            if value.is_floating_point() and not (whole and part_of(student.parts, name) == VISION):
                value.data = value.data.float()
    for name in student.blocks:
        if part_of(student.parts, name) == LANGUAGE_MODEL:
            fully_shard(model.get_submodule(name), mesh=mesh, mp_policy=policy)
    fully_shard(network, mesh=mesh, mp_policy=policy, ignored_params={weights[name] for name in whole})


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole state of a sharded model on the CPU in the leading process, {} in the others. All must call it.

    Weights under several names, such as tied embeddings, are in it once.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    again = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    again -= {name for name, _ in model.named_parameters()}
    return {name: value for name, value in state.items() if name not in again}
