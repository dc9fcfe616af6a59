"""The registry of embedders: `sg.embed.embedders` and plug-ins register themselves here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sg.core.identity import Identity, identity
from sg.core.registry import Registry
from sg.embed.settings import EmbedderConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMBEDDING_VERSION = 2
"""To be raised when the same video files and settings give other vectors than before."""


class Embedder(Protocol):
    """A loaded model that turns frames into unit vectors."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors float32 [B, dim] of unit length for frames uint8 [B, T, H, W, 3]."""


class EmbedderKind(Protocol):
    """What is registered for a settings class: usually the class of the embedder."""

    def __call__(self, config: Any) -> Embedder:
        """Load the model.

        Raises:
            MissingInputError: the weights are missing.
            ModelError: they do not fit the settings.
        """

    def model_facts(self, config: Any) -> dict[str, Any]:
        """What else decides the vectors besides the settings, as plain data, without loading the model.

        The weights enter by their content, never by their path. The facts are part of the identity of the vectors, and
        `embeddings.json` records them.

        Raises:
            MissingInputError: the weights are missing.
        """


EMBEDDERS: Registry[EmbedderKind] = Registry("embedder", "sg.embed.embedders")


def embedding_identity(config: EmbedderConfig) -> Identity:
    """The identity of the vectors of an embedder, for any videos; see `EmbedderKind.model_facts` for errors."""
    facts = EMBEDDERS.of(config).model_facts(config)
    return identity("embedding", settings=config, inputs={"model": facts}, version=EMBEDDING_VERSION)
