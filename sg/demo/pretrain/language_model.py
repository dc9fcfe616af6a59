"""Trains the demo's language model on text only.

It takes the place of an instruction-tuned LLM that has never seen a video.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.core.progress import Progress
from sg.demo.language import LETTERS
from sg.demo.pretrain.texts import BOS, EOS, LETTER, TEXT, WORD, Lesson, LessonWriter

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

PAD = 0
TEXT_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class LanguageModelRecipe:
    """Size and training settings of the language model; the defaults made the committed weights of `model=tiny`."""

    architecture: str = "llama"
    """`llama` or `qwen3`."""
    width: int = 64
    dtype: str = "float32"
    """Type of the saved weights."""
    seed: int = 5
    steps: int = 2800
    drill_steps: int = 350
    """The first steps train letter drills only: mixed with other lessons, the letters are learnt very late."""
    bare_steps: int = 1000
    """Up to this step, lessons are short questions without options about one scene, to teach the kinds of questions."""
    easy_steps: int = 1300
    """Up to this step a video has one scene with one or two actors."""
    bare_share: float = 0.25
    """Fraction of dialogs without options after `bare_steps`."""
    learning_rate: float = 4e-3
    other_learning_rate: float = 4e-3
    batch_size: int = 16
    drill_share: float = 0.2
    """Fraction of letter drills among the batches after `drill_steps`."""
    drill_sizes: tuple[tuple[int, int], ...] = ((1, 64), (6, 20))
    """(questions per drill, drills per batch); each batch draws one pair. Single questions are learnt first."""


def language_model_config(vocabulary_size: int, width: int = 64, architecture: str = "llama") -> PreTrainedConfig:
    """Llama or Qwen3 of 4 layers, heads of 16 channels; 0.07, 0.24 or 0.51 M weights at the widths 32, 64 and 96."""
    from transformers import AutoConfig

    return AutoConfig.for_model(
        architecture,
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_hidden_layers=4,
        num_attention_heads=width // 16,
        num_key_value_heads=width // 16,
        head_dim=16,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        initializer_range=0.04,
        use_cache=False,
    )


def pad_lessons(lessons: list[Lesson]) -> tuple[Tensor, Tensor]:
    """(ids, roles), both `[B, T]`, padded on the right."""
    import torch

    length = max(len(lesson.ids) for lesson in lessons)
    ids = torch.tensor([lesson.ids + [PAD] * (length - len(lesson.ids)) for lesson in lessons])
    roles = torch.tensor([lesson.roles + [0] * (length - len(lesson.roles)) for lesson in lessons])
    return ids, roles


def lesson_loss(model: PreTrainedModel, ids: Tensor, roles: Tensor) -> tuple[Tensor, dict[str, float]]:
    """The loss (words + letters + 0.3 text, each a mean over its tokens); fractions of right words and letters."""
    import torch.nn.functional as functional

    # Rows are padded on the right and attention is causal: no mask is needed.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    wanted, role = ids[:, 1:], roles[:, 1:]
    scored = role > 0
    logits = model.lm_head(hidden[scored])
    wanted, role = wanted[scored], role[scored]
    losses = functional.cross_entropy(logits, wanted, reduction="none")
    right = logits.argmax(-1) == wanted
    loss = losses.new_zeros(())
    scores = {}
    for name, number, weight in (("text", TEXT, TEXT_WEIGHT), ("word", WORD, 1.0), ("letter", LETTER, 1.0)):
        of_role = role == number
        if of_role.any():
            loss = loss + weight * losses[of_role].mean()
            scores[name] = right[of_role].float().mean().item()
    return loss, scores


def _lesson_batches(
    writer: LessonWriter, recipe: LanguageModelRecipe, step: int, rng: random.Random
) -> list[list[Lesson]]:
    """Eight batches of dialogs of similar length, of the difficulty of `step`."""
    bare_share = 1.0 if step < recipe.bare_steps else recipe.bare_share
    easy = step < recipe.easy_steps
    lessons = [writer.dialog(easy, bare=rng.random() < bare_share) for _ in range(8 * recipe.batch_size)]
    lessons.sort(key=lambda lesson: len(lesson.ids))
    batches = [lessons[at : at + recipe.batch_size] for at in range(0, len(lessons), recipe.batch_size)]
    rng.shuffle(batches)
    return batches


def _drill_batch(writer: LessonWriter, recipe: LanguageModelRecipe, rng: random.Random) -> list[Lesson]:
    turns, size = rng.choice(recipe.drill_sizes)
    return [writer.drill(turns) for _ in range(size)]


def _start_letters_alike(model: PreTrainedModel, tokenizer: SentencePieceProcessor) -> None:
    """Initialise the embeddings of an option's `A.` and an answer's ` A` equally: they are two tokens of one letter."""
    import torch

    table: Any = model.get_input_embeddings().weight
    with torch.no_grad():
        for letter in LETTERS:
            table[tokenizer.piece_to_id(f"{letter}.")] = table[tokenizer.piece_to_id(f"\u2581{letter}")]


def _start_as_llama(model: PreTrainedModel, folder: Path, lessons: list[Lesson]) -> None:
    """Copy the weights of a Llama. A Qwen3 also norms queries and keys: to their mean size in `lessons`."""
    import torch
    from transformers import AutoModelForCausalLM

    llama = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.load_state_dict(llama.state_dict(), strict=False)
    sizes: dict[str, Tensor] = {}

    def measure(name: str) -> Callable[[Any, Any, Tensor], None]:
        def hook(module: Any, args: Any, output: Tensor) -> None:
            sizes[name] = output.reshape(*output.shape[:-1], -1, model.config.head_dim).pow(2).mean(-1).sqrt().mean()

        return hook

    for name, module in llama.named_modules():
        if name.endswith(("q_proj", "k_proj")):
            module.register_forward_hook(measure(name))
    with torch.no_grad():
        llama(input_ids=pad_lessons(lessons)[0])
        for name, size in sizes.items():
            model.get_parameter(name.replace("_proj", "_norm.weight")).fill_(size)


def train_language_model(
    tokenizer_path: Path, folder: Path, recipe: LanguageModelRecipe, start: Path | None = None
) -> dict[str, float]:
    """Train and save as a transformers checkpoint in `folder`; returns held-out accuracies.

    Args:
        start: folder of a Llama of the same size to begin with; None begins from scratch.
    """
    import torch
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoModelForCausalLM

    from sg.demo.pretrain.optimiser import MuonAdamW

    tokenizer = SentencePieceProcessor(model_file=str(tokenizer_path))
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    config = language_model_config(tokenizer.get_piece_size(), recipe.width, recipe.architecture)
    loader: Any = AutoModelForCausalLM  # untyped in transformers
    model = loader.from_config(config)
    _start_letters_alike(model, tokenizer)
    writer = LessonWriter(tokenizer, rng)
    if start is not None:
        _start_as_llama(model, start, [writer.dialog() for _ in range(8)])
    optimiser = MuonAdamW(
        model,
        learning_rate=recipe.learning_rate,
        other_learning_rate=recipe.other_learning_rate,
        total_steps=recipe.steps,
    )
    waiting: list[list[Lesson]] = []
    recent: dict[str, list[float]] = defaultdict(list)
    with Progress("language model", recipe.steps, "steps") as bar:
        for step in range(recipe.steps):
            if not waiting and step >= recipe.drill_steps:
                waiting = _lesson_batches(writer, recipe, step, rng)
            drilled = step < recipe.drill_steps or rng.random() < recipe.drill_share
            lessons = _drill_batch(writer, recipe, rng) if drilled else waiting.pop()
            loss, scores = lesson_loss(model, *pad_lessons(lessons))
            optimiser.step(loss)
            for name, score in scores.items():
                recent[f"drill {name}" if drilled else name].append(score)
            note = " ".join(f"{name} {sum(s[-50:]) / len(s[-50:]):.2f}" for name, s in sorted(recent.items()))
            bar.advance(note=f"loss {loss.item():.2f} {note}")
    scores = examine(model, LessonWriter(tokenizer, random.Random(recipe.seed + 1)), batches=8)
    model.to(getattr(torch, recipe.dtype)).save_pretrained(folder)
    return scores


def examine(model: PreTrainedModel, writer: LessonWriter, batches: int) -> dict[str, float]:
    """Fraction of right words, and of right letters after the right word, in `batches` batches of 32 new dialogs."""
    import torch

    totals: dict[str, list[float]] = defaultdict(list)
    with torch.no_grad():
        for _ in range(batches):
            _, scores = lesson_loss(model, *pad_lessons([writer.dialog() for _ in range(32)]))
            for name, score in scores.items():
                totals[name].append(score)
    return {name: sum(values) / len(values) for name, values in totals.items()}
