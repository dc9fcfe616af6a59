"""Sizes of a student that decide what it costs to train."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sg.artefacts.visual_tokens.clips import ClipFacts


class VisualTokens(Protocol):
    """Counts the visual tokens of a clip."""

    def __call__(self, frames: int, facts: ClipFacts | None = None, /) -> int:
        """Their number for a clip of so many frames of a usual size; 1 is an image.

        Args:
            facts: of a clip that exists; the number is then that of the processor.
        """


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Sizes of a video language model.

    Attributes:
        hidden, intermediate, layers, heads, key_value_heads, head_dim, vocabulary, tied: of the language model.
        connector_weights: all weights of the connector; `connector_flops`: its operations per visual token.
        tower_weights: all weights of the vision tower; `frame_flops`: its operations per frame.
        visual_tokens: counts the visual tokens of a clip.
        max_frames: most frames that are sampled from a clip.
        weight_bytes: bytes of a weight in a checkpoint.
        token_bytes: bytes of the cached features of one visual token.
        tower_bytes: about the bytes of the tower's output for one visual token, which is cached where the connector
            learns; 0 stands for `token_bytes`.
        head_norms: queries and keys are normalised per head, as in Qwen 3.
        other_weights: of the language model that the sizes above do not count, such as experts that a token skips.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    connector_weights: int
    connector_flops: float
    tower_weights: int
    frame_flops: float
    visual_tokens: VisualTokens
    max_frames: int
    weight_bytes: int
    token_bytes: int
    tower_bytes: int = 0
    other_weights: int = 0
    head_norms: bool = False

    @property
    def _linear_shapes(self) -> list[tuple[int, int]]:
        queries, keys = self.heads * self.head_dim, self.key_value_heads * self.head_dim
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 2, (self.intermediate, self.hidden)]

    @property
    def linear_weights(self) -> int:
        """Weights in the linear layers of the language model, without its head."""
        return self.layers * sum(rows * columns for rows, columns in self._linear_shapes)

    @property
    def language_model_weights(self) -> int:
        """All weights of the language model: linear layers, norms, embeddings, head."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_weights + (2 * self.layers + 1) * self.hidden + tables + self.other_weights

    @property
    def weights(self) -> int:
        """All weights."""
        return self.language_model_weights + self.connector_weights + self.tower_weights

    def adapter_weights(self, rank: int) -> int:
        """Weights of adapters of that rank on all linear layers of the language model except its head."""
        return self.layers * rank * sum(rows + columns for rows, columns in self._linear_shapes)

    def tower_flops(self, frames: float) -> float:
        """Operations of the vision tower for a clip of `frames` frames, of which it sees `max_frames` at most."""
        return min(frames, self.max_frames) * self.frame_flops


def language_model_sizes(text: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ModelSize` that the plain config of a Llama or Qwen language model decides."""
    heads = text["num_attention_heads"]
    return {
        "hidden": text["hidden_size"],
        "intermediate": text["intermediate_size"],
        "layers": text["num_hidden_layers"],
        "heads": heads,
        "key_value_heads": text.get("num_key_value_heads") or heads,
        "head_dim": text.get("head_dim") or text["hidden_size"] // heads,
        "vocabulary": text["vocab_size"],
        "tied": bool(text.get("tie_word_embeddings")),
        "head_norms": str(text.get("model_type")).startswith("qwen3"),
    }
