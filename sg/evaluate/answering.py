"""Asks a model all questions of a benchmark, in a fixed order of batches. A stopped evaluation is resumed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.answers import LETTERS
from sg.artefacts.predictions import ZEROED_VIDEO, Key, Prediction, PredictionWriter
from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.core.content import file_content
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.identity import Identity, identity
from sg.core.progress import Progress
from sg.evaluate.asking import CACHED_CLIPS, Ask, Asker, FeatureSource
from sg.evaluate.benchmark import Benchmark, BenchmarkVideo, unlabelled
from sg.evaluate.config import AnsweringConfig, BenchmarkConfig
from sg.evaluate.shards import WHOLE, EvaluationShard
from sg.models.student import Student, StudentProcessor

if TYPE_CHECKING:
    from sg.models.answering import EncodedPrompt, Generated

log = logging.getLogger(__name__)

FILES_AT_ONCE = 8
ANSWERS_VERSION = 3
"""Raise it when `sg.evaluate` would give other answers for the same model, benchmark and settings."""
OPTION_TEXTS_VERSION = 1
"""Raise it when the same model and question would give other likelihoods of the texts of the options."""


def answers_identity(benchmark: Benchmark, config: BenchmarkConfig, model: Identity | str) -> Identity:
    """What decides every answer: model, questions, wording, and the files of videos and subtitles.

    Which settings and probes are asked does not count, because each row is answered independently.

    Args:
        model: the identity of the model with its vision tower, tokenizer and frame sampling, or its name.
    """
    videos = [video for video in benchmark.videos if video.path is not None or video.subtitle_path is not None]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool, Progress("check files", len(videos), "videos") as bar:
        files = {}
        # A video or a subtitle file that is supplied or replaced later changes the identity.
        for video, content in zip(videos, pool.map(_content, videos), strict=True):
            files[video.media_id] = content
            bar.advance()
    inputs: dict[str, Any] = {
        "model": model,
        "questions": benchmark.content_hash,
        "videos": fingerprint({name: video for name, (video, _) in files.items()}),
        "subtitles": fingerprint({name: subtitles for name, (_, subtitles) in files.items()}),
    }
    if config.answering.option_texts:
        inputs["option_texts"] = OPTION_TEXTS_VERSION
    if shared := {video.media_id: video.shared_clip for video in videos if video.shared_clip}:
        # The noise of token merging is seeded by the name of a clip, so the tokens depend on it.
        inputs["shared_clips"] = fingerprint(shared)
    return identity("answers", settings=config, inputs=inputs, version=ANSWERS_VERSION)


def _content(video: BenchmarkVideo) -> tuple[str | None, str | None]:
    """Content of a video's file and of its subtitle file; None for a missing one."""
    return _file_content(video.path), _file_content(video.subtitle_path)


def _file_content(path: Path | None) -> str | None:
    try:
        return None if path is None else file_content(path)
    except OSError:
        # The rows of this video get a status and a reason; the evaluation continues.
        return "unreadable"


def letter_ids(processor: StudentProcessor, count: int = 4) -> dict[str, list[int]]:
    """For each of the first `count` letters the tokens whose text is just that letter, such as "B" and " B"."""
    texts = {token: processor.decode([token]) for token in range(len(processor))}
    return {letter: [token for token, text in texts.items() if text == letter] for letter in LETTERS[:count]}


def batches(asks: Sequence[Ask], batch_size: int) -> Iterator[list[Ask]]:
    """Batches of the asks that the model can answer, with videos of similar length together.

    All asks of a video are in one batch, because they share a prefix, unless they exceed the batch size. The order
    depends only on the asks and the batch size, so a resumed run makes the same batches as an uninterrupted one.
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


class _AskingModel:
    """Answers batches of asks with one student; `max_options` is the largest number of options of a question."""

    def __init__(
        self,
        student: Student,
        processor: StudentProcessor,
        features: FeatureSource,
        config: BenchmarkConfig,
        max_options: int,
    ) -> None:
        from sg.models.answering import REFERENCE_SAMPLING, Answerer

        self._processor, self._clip = processor, lru_cache(maxsize=CACHED_CLIPS)(features.__getitem__)
        self._read, self._answering = config.rule, config.answering
        self._positions = student.max_positions
        self._sampling = REFERENCE_SAMPLING if config.answering.sampling == "reference" else None
        letters = list(letter_ids(processor, max_options).values())
        self._answerer = Answerer(
            student,
            letters=letters if all(letters) else [],
            stop_at_first_letter=config.answering.stop_at_first_letter,
            sampling=self._sampling,
        )

    def answer(self, asks: Sequence[Ask]) -> list[Prediction]:
        """The answered rows of `asks`, which are run as one batch."""
        prompts: list[EncodedPrompt] = []
        clips: dict[str, ClipTensors | None] = {}
        for ask in asks:
            name, clip = self._shown(ask.row)
            clips.setdefault(name, clip)
            prompts.append(self._prompt(ask, name))
        rows = [self._row(ask, answer) for ask, answer in zip(asks, self._answerer.answer(prompts, clips), strict=True)]
        return self._with_option_texts(asks, rows, prompts, clips) if self._answering.option_texts else rows

    def _with_option_texts(
        self,
        asks: Sequence[Ask],
        rows: Sequence[Prediction],
        prompts: Sequence[EncodedPrompt],
        clips: Mapping[str, ClipTensors | None],
    ) -> list[Prediction]:
        """The rows with the likelihoods of the texts of their options, for as many questions at once as fit a batch.

        The ids of a prompt and of the prompt with a text behind it are split at their longest common prefix, because
        a tokenizer may join the beginning of the text with the end of the prompt.
        """
        from sg.models.answering import common_prefix

        scored: dict[int, tuple[EncodedPrompt, list[tuple[int, ...]]]] = {}
        for at, (ask, prompt) in enumerate(zip(asks, prompts, strict=True)):
            ids = [self._with_reply(ask, unlabelled(option), clips[prompt.clip]) for option in ask.question.options]
            if all(ids):
                start = common_prefix([(*prompt.ids, -1), *ids])
                scored[at] = replace(prompt, ids=ids[0][:start]), [own[start:] for own in ids]
        found, places = list(rows), list(scored)
        step = max(1, len(asks) // max((len(ask.question.options) for ask in asks), default=1))
        for first in range(0, len(places), step):
            part = places[first : first + step]
            shown, endings = [scored[at][0] for at in part], [scored[at][1] for at in part]
            likely = self._answerer.likelihoods(shown, endings, clips)
            for at, values in zip(part, likely, strict=True):
                in_order = _in_benchmark_order(found[at], [round(value, 4) for value in values])
                found[at] = replace(found[at], option_logprobs=tuple(in_order))
        return found

    def _with_reply(self, ask: Ask, text: str, clip: ClipTensors | None) -> tuple[int, ...]:
        """The ids of a prompt with the text of an option behind it; empty if they exceed the model's positions."""
        encoded = self._processor.question(ask.prompt.text, clip, ask.prompt.reply + text)
        return encoded.ids if encoded.num_positions <= self._positions else ()

    def _shown(self, row: Prediction) -> tuple[str, ClipTensors | None]:
        """Name and features of the clip in the prompt of a row."""
        if not row.tokens_of:
            return "no video", None
        clip = self._clip(row.tokens_of)
        if row.setting != ZEROED_VIDEO:
            return row.tokens_of, clip
        zeros = {name: tensor.new_zeros(tensor.shape) for name, tensor in clip.tensors.items()}
        # Named by what is left of it: zeroed videos of the same sizes and times are one clip, which is run once.
        shapes = [tuple(tensor.shape) for tensor in zeros.values()]
        name = f"zeroed {shapes} {replace(clip.facts, frame_indices=tuple(clip.facts.frame_indices))}"
        return name, replace(clip, tensors=zeros)

    def _prompt(self, ask: Ask, clip: str) -> EncodedPrompt:
        from sg.models.answering import EncodedPrompt

        row, limit = ask.row, self._answering.max_new_tokens
        if self._sampling is not None:
            limit = min(self._sampling.max_new_tokens, self._positions - ask.length)
        seed = text_seed("answer", self._answering.seed, *row.key)
        return EncodedPrompt(ask.ids, clip, f"{row.video_id} {row.setting}", limit, row.num_options, seed)

    def _row(self, ask: Ask, answer: Generated) -> Prediction:
        row, response = ask.row, self._processor.decode(answer.ids)
        letters = LETTERS[: row.num_options]
        reading, logits = self._read(ask.question, response), [round(score, 4) for score in answer.letter_logits]
        letter, official = reading.letter, reading.score
        if row.option_order:
            # The options were shuffled: translate from the letters in the prompt to the letters of the benchmark.
            letter, official = row.option_order[letters.index(letter)] if letter in (*letters,) else "", None
        logits = _in_benchmark_order(row, logits)
        return replace(
            row, response=response, letter=letter, num_new_tokens=len(answer.ids), letter_logits=tuple(logits),
            score=official,
        )  # fmt: skip


def _in_benchmark_order(row: Prediction, values: Sequence[float]) -> list[float]:
    """Values of the options in the order of the prompt, in that of the benchmark."""
    if not row.option_order or not values:
        return list(values)
    return [values[row.option_order.index(letter)] for letter in LETTERS[: row.num_options]]


def evaluate(
    student: Student,
    processor: StudentProcessor,
    benchmark: Benchmark,
    features: FeatureSource,
    config: BenchmarkConfig,
    path: Path,
    made_by: str,
    failures: Mapping[str, str] | None = None,
    shard: EvaluationShard = WHOLE,
) -> Path:
    """Ask `student` all questions of `benchmark` in the settings and probes of `config`; append the answers to `path`.

    Args:
        student: it is put into evaluation mode.
        features: by `media_id`; a video without features becomes rows with its reason from `failures`.
        path: `predictions.jsonl`; questions that are answered there are not asked again.
        made_by: the name of `answers_identity`; rows in `path` that something else made are moved aside.
        shard: the batches of this call; their answers go to the shard's own file beside `path`.

    Returns:
        The file of the answers: `path`, or that of the shard.
    """
    student.module.eval()  # type: ignore[no-untyped-call]  # transformers'
    asks = Asker(benchmark, config, processor, features, student.max_positions, made_by, failures).asks()
    max_options = max((ask.row.num_options for ask in asks), default=0)
    own = shard.part(list(batches(asks, config.answering.batch_size)))
    failed = [ask.row for ask in asks if not ask.is_askable] if shard.is_first else []
    file = shard.file(path)
    with PredictionWriter(file, made_by) as writer:
        rows = [*failed, *(ask.row for _, batch in own for ask in batch)]
        done = sum(writer.is_done(row.key) for row in rows)
        with Progress(f"evaluate {benchmark.name}{shard.label}", len(rows), "questions", done_before=done) as bar:
            writer.write(failed)
            bar.fail(len(failed))
            _answer_open(writer, own, partial(_AskingModel, student, processor, features, config, max_options), bar)
        if config.answering.check_in_full:
            in_full = replace(config, answering=replace(config.answering, stop_at_first_letter=False))
            answers = _AskingModel(student, processor, features, in_full, max_options)
            _log_agreement(answers, [ask for _, batch in own for ask in batch], writer.done, config.answering)
    return file


def answers_of(
    student: Student,
    processor: StudentProcessor,
    benchmark: Benchmark,
    features: FeatureSource,
    config: BenchmarkConfig,
    failures: Mapping[str, str] | None = None,
) -> list[Prediction]:
    """The answers to all questions, without a file; see `evaluate`."""
    asks = Asker(benchmark, config, processor, features, student.max_positions, "", failures).asks()
    model = _AskingModel(
        student, processor, features, config, max((ask.row.num_options for ask in asks), default=0)
    )  # fmt: skip
    rows = [ask.row for ask in asks if not ask.is_askable]
    return rows + [row for batch in batches(asks, config.answering.batch_size) for row in model.answer(batch)]


def _answer_open(
    writer: PredictionWriter, own: Sequence[tuple[int, list[Ask]]], load: Callable[[], _AskingModel], bar: Progress
) -> None:
    """Answer the batches with an unanswered question.

    Such a batch is run as a whole, including its answered questions. Its rounding is then that of an uninterrupted run,
    and so are its answers. `load` prepares the model; it is not called when all questions are answered.
    """
    answers: _AskingModel | None = None
    for number, batch in own:
        missing = sum(not writer.is_done(ask.row.key) for ask in batch)
        if missing:
            answers = answers or load()
            writer.write(replace(row, batch=number) for row in answers.answer(batch))
            bar.advance(missing)


def _log_agreement(
    answers: _AskingModel, asks: Sequence[Ask], done: Mapping[Key, Prediction], answering: AnsweringConfig
) -> None:
    """Log for how many answers that ended at their first token the full answer has the same letter.

    `answering.check_in_full` of them are chosen by the seed.
    """
    short = [ask for ask in asks if done[ask.row.key].num_new_tokens == 1]
    short.sort(key=lambda ask: text_seed("check in full", answering.seed, *ask.row.key))
    sample, equal = short[: answering.check_in_full], 0
    for at in range(0, len(sample), answering.batch_size):
        rows = answers.answer(sample[at : at + answering.batch_size])
        equal += sum(row.letter == done[row.key].letter for row in rows)
    log.info("first letters against answers in full: %d of %d agree", equal, len(sample))
