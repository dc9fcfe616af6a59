"""Captions written by a model of this project: what a trained checkpoint says about a film, or about a whole manifest.

Answers are greedy, so a film's caption depends on the checkpoint and the prompt only, up to the rounding that the other
films of its batch bring. Written captions are appended to `written.jsonl` beside the table, batch by batch: a stopped
run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.manifest import Manifest, read_manifest, video_path
from sg.artefacts.tables import read_info
from sg.caption.cleaning import clean_caption
from sg.caption.config import ChatUniViCaptionerConfig
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.progress import Progress
from sg.models.chat_univi.identity import local_path, part_identity
from sg.models.config import ModelConfig
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

LEDGER = "written.jsonl"
TOKENIZERS = ("tokenizer.model", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one film: a caption, or the problem that kept it from being read."""

    video_id: str
    caption: str = ""
    problem: str = ""
    output_tokens: int = 0
    quality_flags: tuple[str, ...] = ()


class ChatUniViWriter:
    """A loaded checkpoint that answers one prompt about films."""

    def __init__(self, config: ChatUniViCaptionerConfig) -> None:
        import torch

        from sg.models.chat_univi.build import build_encoder, build_processor, load_checkpoint

        assert isinstance(config.model, ModelConfig)
        checkpoint = _checkpoint(config)
        self._config = config
        model = load_checkpoint(checkpoint, config.model.dtype)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device)  # type: ignore[arg-type]  # transformers' wrapper hides PyTorch's types
        self._encoder = build_encoder(_with_own_tokenizer(config.model, checkpoint))
        self._processor = build_processor(config.model, model)

    def write(self, films: Mapping[str, Path]) -> list[Row]:
        """A row for every film of `films` ({video id: path}), in their order; all are answered in one batch."""
        pixels: dict[str, Tensor] = {}
        problems: dict[str, str] = {}
        for video_id, path in films.items():
            frames = self._frames(path)
            if isinstance(frames, str):
                problems[video_id] = frames
            else:
                pixels[video_id] = frames
        answers = dict(zip(pixels, self._answers(pixels), strict=True)) if pixels else {}
        return [self._row(video_id, answers.get(video_id), problems.get(video_id, "")) for video_id in films]

    def _frames(self, path: Path) -> Tensor | str:
        """Pixel values [T, 3, size, size] of a film's sampled frames, or why there are none."""
        from sg.video.frames import UnreadableVideoError
        from sg.video.reader import read_frames

        try:
            return self._processor.pixel_values(read_frames(path, self._processor.frames).frames)
        except UnreadableVideoError as error:
            return str(error)

    def _answers(self, pixels: Mapping[str, Tensor]) -> list[list[int]]:
        """New ids of the answers about clips of `pixels`, each [T, 3, size, size]."""
        import torch

        counts = [len(clip) for clip in pixels.values()]
        seeds = [text_seed("merging noise", key, count) for key, count in zip(pixels, counts, strict=True)]
        frames = torch.cat(list(pixels.values())).to(self._device)
        clips = self._model.encode_clips(frames, counts, seeds)
        prompts = [torch.tensor(self._encoder.encode_prompt(self._config.prompt, count)) for count in counts]
        ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        answers = self._model.generate(
            ids.to(self._device),
            (torch.arange(ids.shape[1]) < lengths[:, None]).to(self._device),
            visual_tokens=torch.cat(clips),
            visual_counts=[len(clip) for clip in clips],
            max_new_tokens=self._config.max_new_tokens,
        )
        rows: list[list[int]] = answers.tolist()
        return rows

    def _row(self, video_id: str, answer: list[int] | None, problem: str) -> Row:
        if answer is None:
            return Row(video_id, problem=problem)
        text, flags = clean_caption(self._encoder.decode(answer))
        used = self._encoder.encode_text(text, with_placeholders=False)
        return Row(video_id, text, "" if text else "the model said nothing", len(used), flags)


def caption_film(film: Path, config: ChatUniViCaptionerConfig) -> str:
    """What the checkpoint says about one film.

    Raises:
        MissingInputError: there is no such film.
        DataError: it cannot be read.
    """
    if not film.is_file():
        raise MissingInputError(f"There is no film {film}: give the path of a file as video=FILE.")
    (row,) = ChatUniViWriter(config).write({film.stem: film})
    if row.problem and not row.caption:
        raise DataError(f"{film}: {row.problem}")
    return row.caption


def caption_manifest(data: DataConfig, config: ChatUniViCaptionerConfig) -> Path:
    """Write the checkpoint's caption of every usable film of the data, or leave those that are there; gives their path.

    Films that cannot be read are left out and counted.

    Raises:
        MissingInputError: there is no manifest, or a part of the model is missing.
        DataError: no film got a caption.
    """
    manifest = read_manifest(make_manifest(data))
    path = data.captions_path(config.name)
    provenance = _provenance(config)
    made_by = fingerprint(provenance)
    whole = fingerprint([manifest.content_hash, made_by])
    with file_lock(path.with_suffix(".lock")):
        if read_info(path).get("fingerprint") == whole:
            return path
        rows = _rows(manifest, Path(data.videos), config, path.with_name(LEDGER), made_by)
        captioned = [rows[video_id] for video_id in manifest.usable().video_ids if rows[video_id].caption]
        if not captioned:
            raise DataError(
                f"None of the {len(rows)} films of data={data.name} got a caption: see {path.parent / LEDGER}."
            )
        info = {"fingerprint": whole, "captioner": config.name, "manifest": manifest.content_hash}
        write_captions(path, (_record(row, provenance) for row in captioned), info)
    log.info("captions: %d of %d usable videos (captioner %s)", len(captioned), len(rows), config.name)
    return path


def _rows(
    manifest: Manifest, videos: Path, config: ChatUniViCaptionerConfig, ledger: Path, made_by: str
) -> dict[str, Row]:
    """A row for every usable film, those of an earlier run from the ledger."""
    films = {record.video_id: video_path(videos, record) for record in manifest.usable().records()}
    rows = {video_id: row for video_id, row in _written(ledger, made_by).items() if video_id in films}
    missing = [video_id for video_id in films if video_id not in rows]
    if not missing:
        return rows
    writer = ChatUniViWriter(config)
    with ledger.open("a") as stream, Progress("captions", len(films), "videos", done_before=len(rows)) as bar:
        for start in range(0, len(missing), config.batch_size):
            written = writer.write({name: films[name] for name in missing[start : start + config.batch_size]})
            stream.write("".join(json.dumps({"made_by": made_by} | dataclasses.asdict(row)) + "\n" for row in written))
            stream.flush()
            rows |= {row.video_id: row for row in written}
            bar.advance(sum(1 for row in written if not row.problem))
            bar.fail(sum(1 for row in written if row.problem))
    for row in rows.values():
        if row.problem:
            log.warning("captions: %s has none: %s", row.video_id, row.problem)
    return rows


def _written(ledger: Path, made_by: str) -> dict[str, Row]:
    """Rows of an earlier run by the same checkpoint and settings; an unfinished last line is cut off."""
    if not ledger.is_file():
        return {}
    content = ledger.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with ledger.open("r+b") as stream:
            stream.truncate(len(whole))
    return {row.video_id: row for row in _same(whole.decode().splitlines(), made_by)}


def _same(lines: Sequence[str], made_by: str) -> Iterator[Row]:
    for line in lines:
        values = json.loads(line)
        if values.pop("made_by") == made_by:
            yield Row(**values | {"quality_flags": tuple(values["quality_flags"])})


def _provenance(config: ChatUniViCaptionerConfig) -> dict[str, Any]:
    """Everything that decides a caption besides the film."""
    assert isinstance(config.model, ModelConfig)
    return {
        "checkpoint": part_identity(_checkpoint(config)),
        "prompt": config.prompt,
        "max_new_tokens": config.max_new_tokens,
        "model": {
            key: getattr(config.model, key) for key in ("max_frames", "target_fps", "image_aspect_ratio", "dtype")
        },
        "text": {key: getattr(config.model, key) for key in ("system_prompt", "chat_format")},
        "tokenizer": part_identity(config.model.tokenizer),
    }


def _record(row: Row, provenance: Mapping[str, Any]) -> CaptionRecord:
    return CaptionRecord(
        video_id=row.video_id,
        caption=row.caption,
        model="chat_univi",
        model_version=str(provenance["checkpoint"]),
        prompt_hash=fingerprint(provenance["prompt"]),
        parameters=json.dumps(provenance, sort_keys=True),
        output_tokens=row.output_tokens,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        quality_flags=row.quality_flags,
    )


def _checkpoint(config: ChatUniViCaptionerConfig) -> str:
    if config.checkpoint is None:
        raise ConfigError("captioner=chat_univi needs a trained model: give captioner.checkpoint=FOLDER.")
    return config.checkpoint


def _with_own_tokenizer(model: ModelConfig, checkpoint: str) -> ModelConfig:
    """`model` with the checkpoint's own tokenizer where the checkpoint is a folder that has one."""
    folder = local_path(checkpoint)
    if model.tokenizer is None and folder is not None and any((folder / name).is_file() for name in TOKENIZERS):
        return dataclasses.replace(model, tokenizer=checkpoint)
    return model
