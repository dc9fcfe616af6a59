"""Captions that a student writes, about one file or about a data set: `captioner=chat_univi`.

Decoding is greedy, so a caption depends on the checkpoint, the prompt and the video only, up to the rounding that the
other videos of its batch cause. Answers are appended to `written.jsonl` beside the captions, batch by batch, so that a
stopped run resumes after its last batch.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.manifest import Manifest, read_manifest, video_path
from sg.artefacts.tables import read_info
from sg.caption.captioners import CAPTIONERS, Captioner, CaptionerConfig, captions_info, of_manifest
from sg.caption.student_answers import VideoAnswer, VideoAnswerer
from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, is_intact, with_checksum
from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.progress import Progress
from sg.models.student import STUDENTS
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)

ANSWERS_FILE = "written.jsonl"
STUDENT_CAPTIONS_VERSION = 1
"""Raised when the same checkpoint, prompt and videos would give other captions."""


@dataclass
class StudentCaptionerConfig(CaptionerConfig):
    """A trained student writes the captions.

    Attributes:
        checkpoint: the folder of a stage, or any model of the kind of `model`.
        model: how frames are sampled and prompts are worded, and the tokenizer where the checkpoint has none: the
            settings of the model that the checkpoint was made from.
        prompt: the question about every video; `prompt="..."` of the command sets it, too.
        max_new_tokens: the maximum length of a caption.
        batch_size: videos that are answered together.
    """

    checkpoint: str | None = field(default=None, metadata=NOT_IDENTITY)  # its content is an input of the identity
    model: Any = None
    prompt: str = "Describe this video in detail."
    max_new_tokens: int = 512
    batch_size: int = field(default=8, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.max_new_tokens, self.batch_size) < 1 or not self.prompt.strip():
            raise ConfigError(
                "captioner.max_new_tokens and captioner.batch_size should be at least 1, and captioner.prompt not "
                "empty."
            )


@dataclass
class ChatUniViCaptionerConfig(StudentCaptionerConfig):
    """A Chat-UniVi writes the captions."""

    name: str = field(default="chat_univi", metadata=NOT_IDENTITY)


@CAPTIONERS.register("chat_univi", ChatUniViCaptionerConfig)
class StudentCaptioner(Captioner):
    """Lets a checkpoint answer one prompt about every video."""

    answers_prompts = True
    config: StudentCaptionerConfig

    def captions(self, data: DataConfig) -> Path:
        """Write the checkpoint's caption of every usable video, unless the existing captions have the same identity.

        Videos that cannot be read are left out and counted.

        Raises:
            ConfigError: `captioner.checkpoint` is missing.
            MissingInputError: the manifest or a part of the model is missing.
            DataError: no video has a caption.
        """
        config, manifest = self.config, read_manifest(make_manifest(data))
        answerer, work = self._answerer_identity(), self.identity_of(manifest)
        folder = data.captions_path(config.name).parent
        with file_lock(folder / "captions.lock", folder):
            path = self.place(data, for_writing=True)
            if read_info(path).get("fingerprint") == work.name:
                return path
            answers = self._answers(manifest, data.videos_folder, folder / ANSWERS_FILE, answerer.name)
            captioned = [answers[name] for name in manifest.usable().video_ids if answers[name].caption]
            if not captioned:
                raise DataError(
                    f"None of the {len(answers)} videos of data={data.name} has a caption: the reasons are in "
                    f"{folder / ANSWERS_FILE}."
                )
            info = captions_info(work, answerer, config.name, manifest.content_hash)
            kind = CAPTIONERS.name_of(config)
            write_captions(path, (_record(answer, answerer, kind) for answer in captioned), info)
        log.info("captions: %d of %d usable videos (captioner %s)", len(captioned), len(answers), config.name)
        return path

    def caption_file(self, path: Path) -> str:
        """The checkpoint's answer about one video file.

        Raises:
            MissingInputError: the file does not exist.
            DataError: it cannot be read.
        """
        if not path.is_file():
            raise MissingInputError(f"There is no video file {path}: give the path of a file as video=FILE.")
        (answer,) = self._answer(self._answerer(), {path.stem: path})
        if answer.problem and not answer.caption:
            raise DataError(f"{path}: {answer.problem}")
        return answer.caption

    def _answerer(self) -> VideoAnswerer:
        return VideoAnswerer(self._checkpoint, self.config.model)

    def _answer(self, answerer: VideoAnswerer, files: dict[str, Path]) -> list[VideoAnswer]:
        return answerer.answer(files, self.config.prompt, self.config.max_new_tokens)

    @property
    def _checkpoint(self) -> str:
        if self.config.checkpoint is None:
            kind = CAPTIONERS.name_of(self.config)
            raise ConfigError(f"captioner={kind} needs a trained model: give captioner.checkpoint=FOLDER.")
        return self.config.checkpoint

    @property
    def recipe(self) -> Identity | None:
        """The checkpoint and the settings; None without a checkpoint, so that existing captions can be read."""
        return None if self.config.checkpoint is None else self._answerer_identity()

    def identity_of(self, manifest: Manifest) -> Identity:
        """What decides the captions of a manifest."""
        return of_manifest(self._answerer_identity(), manifest.content_hash)

    def _answerer_identity(self) -> Identity:
        """What decides the answer about any video."""
        student = STUDENTS.of(self.config.model).identity(self.config.model, self._checkpoint)
        inputs = {"checkpoint": student}
        return identity("captions", settings=self.config, inputs=inputs, version=STUDENT_CAPTIONS_VERSION)

    def _answers(self, manifest: Manifest, videos: Path, file: Path, made_by: str) -> dict[str, VideoAnswer]:
        """An answer for every usable video, by id; those of an earlier run come from `file`."""
        files = {record.video_id: video_path(videos, record) for record in manifest.usable().records()}
        answers = {name: answer for name, answer in _written(file, made_by).items() if name in files}
        missing = [name for name in files if name not in answers]
        if not missing:
            return answers
        answerer, batch_size = self._answerer(), self.config.batch_size
        with file.open("a") as stream, Progress("captions", len(files), "videos", done_before=len(answers)) as bar:
            for start in range(0, len(missing), batch_size):
                new = self._answer(answerer, {name: files[name] for name in missing[start : start + batch_size]})
                stream.write("".join(_line(row, made_by) for row in new))
                stream.flush()
                answers |= {answer.video_id: answer for answer in new}
                bar.advance(sum(1 for answer in new if not answer.problem))
                bar.fail(sum(1 for answer in new if answer.problem))
        for answer in answers.values():
            if answer.problem:
                log.warning("captions: %s has none: %s", answer.video_id, answer.problem)
        return answers


def _line(answer: VideoAnswer, made_by: str) -> str:
    values = {"made_by": made_by} | dataclasses.asdict(answer) | {CHECKSUM_KEY: CHECKSUM_UNSET}
    return with_checksum(json.dumps(values)) + "\n"


def _written(file: Path, made_by: str) -> dict[str, VideoAnswer]:
    """Answers of an earlier run with the same identity, without damaged ones; an incomplete last line is cut off."""
    if not file.is_file():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        # A killed run stopped inside this line; the next line would otherwise be appended to it.
        with file.open("r+b") as stream:
            stream.truncate(len(whole))
    return {answer.video_id: answer for answer in _same(whole.splitlines(), made_by, file)}


def _same(lines: Sequence[bytes], made_by: str, file: Path) -> Iterator[VideoAnswer]:
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line) if is_intact(line) else {}
        except ValueError:
            values = {}
        if not isinstance(values, dict) or "made_by" not in values:
            log.warning("%s, line %d, is damaged: its video is captioned again", file, number)
        elif values.pop("made_by") == made_by:
            values.pop(CHECKSUM_KEY, None)
            yield VideoAnswer(**values | {"quality_flags": tuple(values["quality_flags"])})


def _record(answer: VideoAnswer, answerer: Identity, model: str) -> CaptionRecord:
    return CaptionRecord(
        video_id=answer.video_id,
        caption=answer.caption,
        model=model,
        model_version=str(answerer.inputs["checkpoint"]),
        prompt_hash=fingerprint(answerer.settings["prompt"]),
        parameters=json.dumps(answerer.settings | {"inputs": dict(answerer.inputs)}, sort_keys=True),
        output_tokens=answer.output_tokens,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        quality_flags=answer.quality_flags,
    )
