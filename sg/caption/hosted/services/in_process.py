"""A video model behind the interface of a service: `captioner=hf`.

The model is loaded in this process, or by every worker of a Ray cluster. Either way the next batch of videos is read
while the model answers one. So the engine's ledger, gates, budget and resumption hold for it as for any service.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, Usage
from sg.caption.student_answers import AskedClip, VideoAnswerer
from sg.core.errors import SgError
from sg.models.clips import packed_clip, reading_processes, unpacked_clip
from sg.models.student import STUDENTS, StudentProcessor
from sg.video.frames import UnreadableVideoError
from sg.video.maps import VideoMap, VideoWorker


@dataclass(frozen=True, slots=True)
class AskedFile:
    """A video file and what is asked about it; `key` is different for each file of a batch."""

    key: str
    path: Path
    prompt: str
    max_new_tokens: int


class InProcess:
    """A loaded model, or several on a cluster.

    Args:
        config: settings of the student, such as those of `model=qwen3_vl_4b`.
        batch_size: videos that are answered together; `decode_workers`: processes that read video files.
        engine: `local`, or `ray`.
    """

    name = "hf"

    def __init__(self, config: Any, batch_size: int, decode_workers: int, engine: str = "local") -> None:
        import transformers

        self.sdk = ("transformers", transformers.__version__)
        self._batch_size, self._numbers, self._running = batch_size, itertools.count(), 0
        self._waiting: list[tuple[AskedFile, asyncio.Future[Answer | Failure]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = contextlib.ExitStack()
        read = partial(_read, STUDENTS.of(config).processor(config))
        work = VideoMap(read, partial(_Answerer, config), reading_processes(decode_workers))
        self._submit: Callable[[Sequence[AskedFile]], Future[list[Answer | Failure]]]
        if engine == "ray":
            crew = self._held.enter_context(work.crew())
            self._submit, self._at_once = crew.submit, crew.size
        else:
            worker = self._held.enter_context(VideoWorker(work, 1))
            worker.prepare()
            threads = self._held.enter_context(ThreadPoolExecutor(2))
            self._submit, self._at_once = (lambda batch: threads.submit(worker, batch)), 2

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer about the file of the request."""
        assert request.media is not None
        path, loop = Path(unquote(urlsplit(request.media.uri).path)), asyncio.get_running_loop()
        prompt = "\n\n".join(filter(None, (request.system.strip(), request.user.strip())))
        asked = AskedFile(str(next(self._numbers)), path, prompt, int(request.generation["max_output_tokens"]))
        future: asyncio.Future[Answer | Failure] = loop.create_future()
        self._waiting.append((asked, future))
        if self._running < self._at_once:
            self._running += 1
            task = loop.create_task(self._answer_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def close(self) -> None:
        """End the processes, threads and workers."""
        await asyncio.to_thread(self._held.close)

    async def _answer_waiting(self) -> None:
        """Send batch after batch, until nothing waits. The next batch gathers while all workers are busy."""
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
            try:
                answers = await asyncio.wrap_future(self._submit([asked for asked, _ in batch]))
            except Exception as error:  # noqa: BLE001 - each request of the batch ends with it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for answer, (_, future) in zip(answers, batch, strict=True):
                if not future.done():  # not cancelled by its deadline
                    future.set_result(answer)
        self._running -= 1


def _read(processor: StudentProcessor, asked: AskedFile) -> bytes:
    return packed_clip(asked.key, asked.path, processor)


class _Answerer:
    """The second step: a loaded model that answers a batch."""

    def __init__(self, config: Any) -> None:
        self._answerer = VideoAnswerer(None, config)

    def __call__(self, found: Sequence[tuple[AskedFile, bytes | SgError]]) -> list[Answer | Failure]:
        for _, data in found:
            if isinstance(data, SgError) and not isinstance(data, UnreadableVideoError):
                raise data
        began = time.monotonic()
        asked = [
            AskedClip(unpacked_clip(data), one.prompt, one.max_new_tokens)
            for one, data in found
            if not isinstance(data, SgError)
        ]
        answered: dict[str, Answer] = {}
        ids, lengths = self._answerer.answer_clips(asked)
        for one, own, length in zip(asked, ids, lengths, strict=True):
            reason = "MAX_TOKENS" if len(own) >= one.max_new_tokens else "STOP"
            text = self._answerer.processor.decode(own)
            answered[one.clip.key] = Answer(text, reason, usage=Usage(length, len(own)))
        seconds = (time.monotonic() - began) / max(1, len(asked))
        return [
            Failure(Kind.MEDIA, str(data)[:300])
            if isinstance(data, SgError)
            else replace(answered[one.key], usage=replace(answered[one.key].usage, gpu_seconds=seconds))
            for one, data in found
        ]
