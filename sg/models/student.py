"""The protocol of students: what training and answering need of a video language model.

A student is known in three forms, because each is needed at another time:

* `StudentKind`, registered for the settings of `model=`: what can be known without weights, for plans and identities;
* `StudentProcessor`: text and frames. It has no weights, and is sent to the processes that read clips;
* `Student`: the loaded weights.

Steps import this module only. `sg/models/<student>` holds what fulfils it.

Shapes: B samples or prompts, L ids of a sample, S new positions, K positions in a cache, V vocabulary, T frames.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sg.artefacts.dialogs import Dialog
from sg.artefacts.visual_tokens.clips import ClipFacts, ClipTensors
from sg.core.identity import Identity
from sg.core.registry import Registry
from sg.models.sizes import ModelSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import Cache, PreTrainedModel

    from sg.video.sampling import FramePolicy

CONNECTOR, LANGUAGE_MODEL, VISION = PARTS = ("connector", "language_model", "vision")
"""The parts of a model that a stage can train: `stage.<name>.trains`."""

TEXT = "text"

IGNORED_LABEL = -100
"""Positions with this label do not count in the loss."""

Batch = dict[str, Any]
"""A micro-batch, as `StudentProcessor.collate` makes it and `Student.loss` takes it; it has `input_ids` [B, L]."""


class EncodedSample(Protocol):
    """Ids and labels of a dialog, of equal length."""

    @property
    def input_ids(self) -> Sequence[int]:
        """The ids. Where a clip stands in them is up to the student."""

    @property
    def labels(self) -> Sequence[int]:
        """The ids that are supervised: the answers and the tokens that close them; `IGNORED_LABEL` elsewhere."""

    @property
    def problem(self) -> str | None:
        """Why the dialog has no supervised token, or None."""

    @property
    def num_cut(self) -> int:
        """Number of ids that are already cut off at the end."""


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """An encoded dialog and its clip; None for text only."""

    dialog: EncodedSample
    clip: ClipTensors | None


@dataclass(frozen=True, slots=True)
class EncodedQuestion:
    """The ids of a prompt up to its answer, and the number of positions that they take in the language model.

    The two differ where a student replaces ids by a clip's visual tokens inside the model.
    """

    ids: tuple[int, ...]
    num_positions: int


@dataclass(frozen=True, slots=True)
class BatchSize:
    """What decides the cost of a batch.

    Attributes:
        positions: positions of each sample in the language model, without padding.
        supervised: number of supervised tokens of the batch.
        visual_tokens: number of visual tokens that pass the connector.
        frames: number of frames that pass the vision tower; 0 for cached features.
    """

    positions: Sequence[int]
    supervised: int
    visual_tokens: int
    frames: int


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """Which features of clips can be computed once.

    Attributes:
        identity: what decides them besides the clip; it names their cache.
        level: how far they are computed, a word of the student's own, for `Student.features`.
        dtype: the type in which they are stored: float16, bfloat16 or float32.
        checkpoint: the weights that compute them; None is the model before its first stage.
    """

    identity: Identity
    level: str
    dtype: str
    checkpoint: str | None = None


class StudentProcessor(Protocol):
    """Text and frames of a student: sampling, pixel values, ids, labels and batches. It can be pickled."""

    @property
    def frames(self) -> FramePolicy:
        """The student's sampling of frames: it maps frame count and frame rate of a file to frame indices."""

    @property
    def needs_frames(self) -> bool:
        """True if the ids of a clip depend on what its frames show: `encode` then needs `ClipFacts.text`."""

    def pixels(self, frames: NDArray[np.uint8], facts: ClipFacts) -> dict[str, Tensor]:
        """What the student computes features from, by name, for the sampled frames [T, H, W, 3] of a clip.

        If `needs_frames`, a tensor `TEXT` holds the text that stands for the clip, in UTF-8.
        """

    def encode(self, dialog: Dialog, facts: ClipFacts | None, max_length: int) -> EncodedSample:
        """Ids and labels of a training dialog about a clip, or about none.

        The first `<image>` or `<video>` of the human is the place of the clip. All other text is text, also where it
        spells a control token. Only the answers and the tokens that close them are supervised.

        Args:
            max_length: largest number of ids of a text-only dialog. Others are cut by `collate`.
        """

    def collate(self, samples: Sequence[TrainingSample], max_length: int) -> Batch:
        """A batch for `Student.loss`, cut to `max_length` ids and padded. Features and pixels are not mixed."""

    def question(self, text: str, clip: ClipTensors | None, reply: str = "") -> EncodedQuestion:
        """A prompt of one turn about a clip, or about none, up to the answer that `reply` begins.

        All of `text` and `reply` is text.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids up to the end of the turn, stripped, without special tokens."""

    def count_tokens(self, text: str) -> int:
        """Number of ids of an answer."""

    def __len__(self) -> int:
        """Size of the vocabulary: ids are 0, 1, ..., len - 1."""

    def save(self, folder: Path) -> None:
        """Write the files of tokenizer and preprocessing into the folder of a model."""


class Student(Protocol):
    """A loaded model in evaluation mode."""

    @property
    def module(self) -> PreTrainedModel:
        """All weights. Its `save_pretrained` writes a folder that `StudentKind.load` reads."""

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        """For each of `PARTS` the names of the submodules in it; the longest name decides (`part_of`)."""

    @property
    def blocks(self) -> Sequence[str]:
        """Names of the submodules that FSDP shards one by one, such as the layers of the language model."""

    @property
    def size(self) -> ModelSize:
        """Sizes that decide cost."""

    @property
    def max_positions(self) -> int:
        """Largest number of positions of prompt and answer."""

    @property
    def eos_ids(self) -> Collection[int]:
        """Tokens that end an answer."""

    @property
    def shares_prefixes(self) -> bool:
        """True if rows of the cache can be padded, copied and continued; otherwise every prompt is answered alone."""

    # ------------------------------------------------------------------------------------------------ clips
    def feature_widths(self, level: str) -> Mapping[str, int]:
        """The features of a clip at a level of `FeatureCache`: by name, the width C of a tensor [n, C]."""

    def features(self, clips: Sequence[ClipTensors], level: str | None = None) -> list[ClipTensors]:
        """The features of clips that are given as pixels; those of a clip do not depend on the others.

        All tensors of a clip have the same number n of rows.

        Args:
            level: of a `FeatureCache`; None computes them as far as possible.
        """

    # --------------------------------------------------------------------------------------------- training
    def prepare_training(self, packed: bool) -> None:
        """Called once before training, when it is known which weights are trained.

        Raises:
            ConfigError: `packed` is set, and this model cannot keep the samples of a row apart.
        """

    def loss(self, batch: Batch, packed: bool = False) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy over the supervised tokens in nats, their number); the loss is 0 if there are none.

        Args:
            packed: compute the batch as one row without padding, whose samples never attend to one another. The loss
                and its gradients are those of the padded batch.
        """

    def blank_batch(self, samples: int, text_tokens: int, answer_tokens: int, frames: int) -> Batch:
        """A batch of equal samples for a rehearsal: its sizes are real, its features have no meaning.

        Args:
            text_tokens: ids of a sample besides its clip; `answer_tokens` of them are supervised.
            frames: frames of its clip, of which the features are given.
        """

    def measure(self, batch: Batch) -> BatchSize:
        """The work in a batch."""

    # -------------------------------------------------------------------------------------------- answering
    def new_cache(self) -> Cache:
        """An empty cache of keys and values, of the model's own class."""

    def prefill(
        self, ids: Tensor, mask: Tensor, clips: Sequence[ClipTensors | None], cache: Cache
    ) -> tuple[Tensor, Tensor]:
        """Run the beginnings of prompts: `ids` [B, L], padded on the right where `mask` [B, L] is False.

        Args:
            clips: the features of each prompt's clip, of any level; None for no video.

        Returns:
            mask: bool [B, K], the positions that are now in the cache, without padding.
            next_positions: int64 [B], the position id of each prompt's next token.
        """

    def extend(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Run further ids [B, S] of text; return the logits [B, V] at the last of them.

        Args:
            mask: bool [B, K + S], the positions in the cache and the new ones, without padding.
            positions: int64 [B, S], position ids of the new ones.
        """


class StudentKind(Protocol):
    """A kind of students, registered for the class of its settings. It never loads weights, except in `load`.

    `config` is an instance of that class. `checkpoint` is a folder or hub id with trained weights of such a model, such
    as the folder of a stage; None is the model before its first stage.
    """

    def default_stages(self, config: Any) -> Sequence[str]:
        """The recipe, if the settings name none: from `align`, `caption` and `instruct`."""

    @property
    def trainable(self) -> Sequence[str]:
        """The parts that can be trained."""

    def untrained(self, config: Any) -> Collection[str]:
        """The parts whose weights no file holds, so that a stage `align` has to train them first."""

    def identity(self, config: Any, checkpoint: str | None = None) -> Identity:
        """What decides the model, besides the seed: settings, and the content of all its files."""

    def cache(self, config: Any, trained: Collection[str], checkpoint: str | None = None) -> FeatureCache | None:
        """Which features stay the same while the parts `trained` are trained; None if there are none."""

    def describe(self, config: Any) -> ModelSize | None:
        """Sizes for plans, from config files alone; None if they are not on this machine and not known by name."""

    def missing(self, config: Any) -> list[str]:
        """The parts of the model that are not on this machine, with the commands that get them."""

    def processor(self, config: Any, checkpoint: str | None = None) -> StudentProcessor:
        """Text and frames of the model.

        Raises:
            MissingInputError: a file is missing.
            ModelError: a file is damaged, or the model is not one of this kind.
        """

    def blank(self, config: Any) -> Student:
        """The model on PyTorch's meta device, for rehearsals, from config files or its name alone.

        Raises:
            MissingInputError: its config is not on this machine, and it is not known by name.
        """

    def load(self, config: Any, checkpoint: str | None = None, seed: int = 0) -> Student:
        """The model in evaluation mode; `seed` is that of weights that no file holds.

        Raises:
            MissingInputError: a part is neither on this machine nor on the hub.
            ModelError: a part is damaged or does not fit.
            DataError: a file of a stage checkpoint differs from what was written.
        """

    def export(self, config: Any, checkpoint: str, folder: Path) -> None:
        """Write the weights of a checkpoint to a folder that exists, in the form of the model's own code.

        Raises:
            ModelError: they have no such form.
        """


STUDENTS: Registry[StudentKind] = Registry("model", "sg.models.students")


def load_student(config: Any, checkpoint: str | None = None, seed: int = 0) -> Student:
    """`StudentKind.load` of the kind that these settings belong to. Other processes can be given this function."""
    return STUDENTS.of(config).load(config, checkpoint, seed)


def part_of(parts: Mapping[str, Sequence[str]], name: str) -> str:
    """The part to which the weight or submodule `name` belongs: that of the longest name that begins it.

    Raises:
        KeyError: no part contains it.
    """
    found = [
        (len(module), part)
        for part, modules in parts.items()
        for module in modules
        if name == module or name.startswith(f"{module}.")
    ]
    if not found:
        raise KeyError(f"{name} belongs to no part of the model")
    return max(found)[1]
