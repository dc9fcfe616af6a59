"""Estimated peak memory of one device in a stage; `rehearse=true` counts the same without a formula.

What is always there is added to the larger of two moments of an optimiser step: the end of the forward pass, with the
logits, and the backward pass of one layer, which is run again under gradient checkpointing. There the checkpoints of
all layers are in memory at first, and the gradients of all layers at last, so the larger of both counts.
"""

from dataclasses import dataclass

from sg.models.sizes import ModelSize
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, VISION
from sg.train.config import StageConfig, TrainerConfig, micro_batches

BYTES_IN_4_BITS = 0.516
"""Bytes of a weight in bitsandbytes' NF4: half a byte, one byte of scale per 64 weights, and the scales of scales."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """A stage of a model on a machine, with the sizes that the formula needs.

    Attributes:
        product: bytes of a value in products, activations and gathered weights.
        frozen: bytes of a weight that is neither trained nor sharded.
        stream: bytes of a value in the residual stream, which autocast leaves in the type of the embeddings.
        result: bytes of a value that a linear layer returns. bitsandbytes returns the type of its input.
        learned: bytes of a weight that is trained or sharded.
        shares: number of devices over which weights, gradients and moments are sharded: those of one node.
        layer, root: weights of one layer of the language model, and of what is outside its layers and not a frozen
            tower; `head`: those of its head.
        whole: weights that are trained themselves; `adapters`: those of adapters.
        trains_layers: the weights of the layers are trained themselves.
    """

    size: ModelSize
    stage: StageConfig
    trainer: TrainerConfig

    @property
    def product(self) -> int:
        return 4 if self.trainer.precision == "32-true" else 2

    @property
    def learned(self) -> int:
        return {"32-true": self.size.weight_bytes, "bf16-true": 2}.get(self.trainer.precision, 4)

    @property
    def frozen(self) -> int:
        return 2 if self.trainer.precision == "bf16-true" else self.size.weight_bytes

    @property
    def stream(self) -> int:
        if self.trainer.precision != "bf16-mixed" or self.trainer.shards:
            return self.product
        return 4 if self.trains_layers else self.size.weight_bytes

    @property
    def is_in_4_bits(self) -> bool:
        return self.stage.has_adapters and self.stage.peft == "qlora"

    @property
    def result(self) -> int:
        return self.stream if self.is_in_4_bits else self.product

    @property
    def shares(self) -> int:
        return self.trainer.devices if self.trainer.shards else 1

    @property
    def layer(self) -> float:
        return (self.size.linear_weights + self.size.other_weights) / self.size.layers

    @property
    def root(self) -> float:
        tower = self.size.tower_weights if VISION in self.stage.trains_whole else 0
        return self.size.language_model_weights - self.size.layers * self.layer + self.size.connector_weights + tower

    @property
    def head(self) -> int:
        return self.size.vocabulary * self.size.hidden

    @property
    def trains_layers(self) -> bool:
        return LANGUAGE_MODEL in self.stage.trains_whole

    @property
    def adapters(self) -> float:
        return self.size.adapter_weights(self.stage.lora.rank) if self.stage.has_adapters else 0

    @property
    def whole(self) -> float:
        weights = {CONNECTOR: self.size.connector_weights, VISION: self.size.tower_weights,
                   LANGUAGE_MODEL: self.size.language_model_weights}  # fmt: skip
        return float(sum(weights[part] for part in self.stage.trains_whole))


def trained_weights(size: ModelSize, stage: StageConfig) -> float:
    """Number of trained weights of a stage."""
    cell = _Cell(size, stage, TrainerConfig())
    return cell.whole + cell.adapters


def stage_memory(trainer: TrainerConfig, size: ModelSize, stage: StageConfig) -> float:
    """Bytes per device at the peak of an optimiser step, without the CUDA context and the allocator's reserve."""
    cell = _Cell(size, stage, trainer)
    samples = micro_batches(stage, trainer.world_size)[0]
    positions = samples * (stage.typical.text_tokens + size.visual_tokens(stage.largest_clip))
    checkpoints: float = size.layers * positions * size.hidden * cell.stream
    # In the type of the products, in float32, and the gradient of the latter.
    logits = samples * stage.typical.answer_tokens * size.vocabulary * (cell.product + 8)
    in_layer, in_backward = layer_values(trainer, size, stage)
    inside = positions * (in_layer + in_backward)
    gradients = cell.learned * (cell.whole + cell.adapters) / cell.shares
    kept = gradients if not trainer.shards and trainer.world_size > 1 else 0.0  # DDP's buckets
    if not trainer.gradient_checkpointing:
        checkpoints, inside = size.layers * positions * in_layer, positions * in_backward
    forward = checkpoints + logits + _copies(cell, cell.whole)
    backward = max(checkpoints + kept, gradients) - kept + inside + _layer_weights(cell)
    return _weights(cell) + 2 * gradients + kept + max(forward, backward)


def _weights(cell: _Cell) -> float:
    """Bytes of the weights between two steps, and of what FSDP gathers for the whole step."""
    size, own = cell.size, cell.frozen
    tower = 0 if VISION in cell.stage.trains_whole else own * size.tower_weights  # a frozen tower is whole, in its type
    learning = size.language_model_weights + size.connector_weights + (0 if tower else size.tower_weights)
    if cell.trainer.shards:  # frozen weights too are float32 in their shards
        return tower + cell.learned * learning / cell.shares + cell.product * cell.root
    frozen: float = own * (learning - cell.whole)
    if cell.is_in_4_bits:
        frozen -= (own - BYTES_IN_4_BITS) * size.linear_weights
    return tower + frozen + cell.learned * (cell.whole + cell.adapters)


def _copies(cell: _Cell, weights: float) -> float:
    """Bytes of autocast's copies of trained weights."""
    return 2 * weights if cell.trainer.precision == "bf16-mixed" and not cell.trainer.shards else 0.0


def _layer_weights(cell: _Cell) -> float:
    """Bytes of weights and gradients that the backward pass of one layer needs besides those of `_weights`.

    FSDP gathers the layer and the next one. Gradients of the head wait for those of the other weights outside the
    layers, and those of the layer before are summed in float32.
    """
    gradients = cell.product * cell.head if cell.trains_layers else 0
    if cell.trainer.shards:
        return 2 * cell.product * cell.layer + (gradients + 4 * cell.layer if cell.trains_layers else 0)
    if cell.is_in_4_bits:
        return 2 * cell.size.hidden * cell.size.intermediate  # one matrix in the type of the products
    # Autocast copies float32 weights, also frozen ones.
    return _copies(cell, cell.layer + cell.head) if cell.trains_layers or cell.size.weight_bytes == 4 else 0.0


def layer_values(trainer: TrainerConfig, size: ModelSize, stage: StageConfig) -> tuple[float, float]:
    """Bytes per position that a layer keeps for its backward pass, and those that this pass adds at its peak.

    Counted for a layer as in Llama and Qwen, with `h`, `i`, `q` and `k` values per position in the residual stream, the
    MLP, the queries, and the keys or values. Products keep their input only for weights that are trained.
    """
    cell = _Cell(size, stage, trainer)
    product, trained = cell.product, cell.trains_layers
    h, i = size.hidden, size.intermediate
    q, k = size.heads * size.head_dim, size.key_value_heads * size.head_dim
    norms: float = 2 * h * (4 + 2 * product * trained)  # a float32 copy; before and after the scale
    if size.head_norms:
        norms += (q + k) * (4 + product * trained)
    attention = product * (q + 2 * k + q + q * trained)  # kernel: inputs and result; the result is joined from samples
    mlp = cell.result * i * (3 + trained)
    # The input of every adapter after dropout, and its mask of one byte.
    adapters = (5 * h + q + i) * (product + 1) if cell.stage.has_adapters else 0
    return norms + attention + mlp + adapters, cell.stream * h + cell.result * i * (3 - trained)
