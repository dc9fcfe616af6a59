"""Asking a model a whole benchmark: batches in a fixed order, answers appended as they come, resumable at any point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.predictions import ZEROED_VIDEO, Prediction, PredictionWriter
from sg.core.fingerprints import fingerprint
from sg.core.progress import Progress
from sg.evaluate.answers import LETTERS, answer_reader
from sg.evaluate.asking import CACHED_CLIPS, Ask, Asker, PromptEncoder, TokenSource
from sg.evaluate.benchmark import Benchmark
from sg.evaluate.config import BenchmarkConfig

if TYPE_CHECKING:
    from torch import Tensor

    from sg.evaluate.greedy import Generated, Prompt

ANSWERING_VERSION = 1
"""Goes into every row's `made_by`: raise it when the same settings would give other answers."""


def answers_fingerprint(benchmark: Benchmark, config: BenchmarkConfig, model_id: str) -> str:
    """Names everything an answer depends on: model, questions and wording, but not which settings are asked.

    `model_id` names weights, vision tower and frame sampling (a checkpoint's fingerprint).
    """
    answering = config.answering
    return fingerprint(
        {
            "version": ANSWERING_VERSION,
            "model": model_id,
            "benchmark": benchmark.content_hash,
            "prompt": config.prompt,
            "subtitles": config.subtitles,
            "answer_reader": config.answer_reader,
            "max_new_tokens": answering.max_new_tokens,
            "stop_at_first_letter": answering.stop_at_first_letter,
            "seed": answering.seed,
        }
    )


def letter_ids(encoder: PromptEncoder) -> dict[str, list[int]]:
    """The tokens that read as nothing but a letter, such as "B" with and without a blank in front: {letter: ids}."""
    texts = {token: encoder.decode([token]) for token in range(len(encoder))}
    return {letter: [token for token, text in texts.items() if text == letter] for letter in LETTERS}


def batches(asks: Sequence[Ask], batch_size: int) -> Iterator[list[Ask]]:
    """The asks that a model can answer, videos of like length together.

    A video stays in one batch, where its questions and settings share their beginning, unless it alone is too large.
    The order depends on the asks and the batch size only, so a resumed run makes the batches of an undisturbed one.
    """
    askable = [ask for ask in asks if ask.is_askable]
    videos = [list(group) for _, group in groupby(askable, key=lambda ask: ask.row.video_id)]
    videos.sort(key=lambda video: (max(ask.length for ask in video), video[0].row.video_id))
    batch: list[Ask] = []
    for video in videos:
        if batch and len(batch) + len(video) > batch_size:
            yield batch
            batch = []
        batch += video
        while len(batch) > batch_size:
            yield batch[:batch_size]
            batch = batch[batch_size:]
    if batch:
        yield batch


class _Answers:
    """Turns asks into rows with answers, through one model."""

    def __init__(self, model: Any, encoder: PromptEncoder, visual_tokens: TokenSource, config: BenchmarkConfig) -> None:
        from sg.evaluate.greedy import GreedyAnswerer

        self._encoder, self._clip = encoder, lru_cache(maxsize=CACHED_CLIPS)(visual_tokens.__getitem__)
        self._read = answer_reader(config.answer_reader)
        letters = list(letter_ids(encoder).values())
        eos = model.config.get_text_config().eos_token_id
        self._answerer = GreedyAnswerer(
            model,
            max_new_tokens=config.answering.max_new_tokens,
            eos_ids=eos if isinstance(eos, list) else [eos],
            letters=letters if all(letters) else [],
            stop_at_first_letter=config.answering.stop_at_first_letter,
        )

    def answer(self, asks: Sequence[Ask]) -> list[Prediction]:
        """The rows of `asks`, answered as one batch."""
        from sg.evaluate.greedy import Prompt

        prompts: list[Prompt] = []
        clips: dict[str, Tensor] = {}
        for ask in asks:
            name, tokens = ask.row.tokens_of, self._clip(ask.row.tokens_of).tokens
            if ask.row.setting == ZEROED_VIDEO:  # videos of the same size look the same then
                name, tokens = f"zeroed {len(ask.row.frames)} {len(tokens)}", tokens.new_zeros(tokens.shape)
            clips.setdefault(name, tokens)
            prompts.append(Prompt(ask.ids, name, f"{ask.row.video_id} {ask.row.setting}"))
        generated = self._answerer.answer(prompts, clips)
        return [self._row(ask, answer) for ask, answer in zip(asks, generated, strict=True)]

    def _row(self, ask: Ask, answer: Generated) -> Prediction:
        response = self._encoder.decode(answer.ids)
        return replace(
            ask.row,
            response=response,
            letter=self._read(response),
            num_new_tokens=len(answer.ids),
            letter_logits=tuple(round(score, 4) for score in answer.letter_logits),
        )


def evaluate(
    model: Any,
    encoder: PromptEncoder,
    benchmark: Benchmark,
    visual_tokens: TokenSource,
    config: BenchmarkConfig,
    path: Path,
    made_by: str,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """Ask `model` every question of `benchmark` in all settings and probes of `config`; append the answers to `path`.

    Args:
        model: the composite model; it is put into eval mode.
        visual_tokens: tokens by `media_id`; a video without any becomes rows with the reason in `failures`.
        path: `predictions.jsonl`; answers that it holds already are not asked again.
        made_by: names everything an answer depends on (`answers_fingerprint`); rows in `path` that something else made
            are moved aside.

    Returns:
        `path`.
    """
    model.eval()
    positions = model.config.get_text_config().max_position_embeddings
    asks = Asker(benchmark, config, encoder, visual_tokens, positions, made_by, failures).asks()
    with PredictionWriter(path, made_by) as writer:
        open_asks = [ask for ask in asks if not writer.is_done(ask.row.key)]
        done = len(asks) - len(open_asks)
        with Progress(f"evaluate {benchmark.name}", total=len(asks), unit="questions", done_before=done) as bar:
            failed = [ask.row for ask in open_asks if not ask.is_askable]
            writer.write(failed)
            bar.fail(len(failed))
            answers = _Answers(model, encoder, visual_tokens, config) if len(failed) < len(open_asks) else None
            for batch in batches(asks, config.answering.batch_size):
                missing = sum(not writer.is_done(ask.row.key) for ask in batch)
                if missing and answers is not None:
                    writer.write(answers.answer(batch))
                    bar.advance(missing)
    return path
