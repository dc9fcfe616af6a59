"""A video model in this process, behind the interface of a service: `captioner=hf`.

Threads decode videos while the model answers a batch. So the engine's ledger, gates, budget and resumption hold for it
as for any service.
"""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sg.caption.hosted.services.gpu_time import GpuTime
from sg.caption.hosted.services.records import Answer, Failure, Kind, Request, Usage
from sg.caption.student_answers import AskedClip, VideoAnswerer


class InProcess:
    """A loaded model.

    Args:
        config: settings of the student, such as those of `model=qwen3_vl_4b`.
        batch_size: videos that are answered together; `decode_workers`: threads that read video files.
    """

    name = "hf"

    def __init__(self, config: Any, batch_size: int, decode_workers: int) -> None:
        import transformers

        self.sdk = ("transformers", transformers.__version__)
        self._answerer, self._batch_size = VideoAnswerer(None, config), batch_size
        self._readers, self._device = ThreadPoolExecutor(decode_workers), ThreadPoolExecutor(1)
        self._waiting: list[tuple[AskedClip, asyncio.Future[Answer]]] = []
        self._numbers, self._time = itertools.count(), GpuTime()
        self._work: asyncio.Task[None] | None = None

    async def generate(self, request: Request) -> Answer | Failure:
        """The answer about the file of the request."""
        from sg.video.frames import UnreadableVideoError

        assert request.media is not None
        path, loop = Path(unquote(urlsplit(request.media.uri).path)), asyncio.get_running_loop()
        try:
            key = str(next(self._numbers))
            clip = await loop.run_in_executor(self._readers, self._answerer.read, key, path)
        except UnreadableVideoError as error:
            return Failure(Kind.MEDIA, str(error)[:300])
        prompt = "\n\n".join(filter(None, (request.system.strip(), request.user.strip())))
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((AskedClip(clip, prompt, int(request.generation["max_output_tokens"])), future))
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._answer_waiting())
        return await future

    async def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._device.shutdown(cancel_futures=True)

    async def _answer_waiting(self) -> None:
        """Answer batch after batch, until nothing waits. The next batch gathers while the device is busy."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
            try:
                with self._time.share() as share:
                    answers = await loop.run_in_executor(self._device, self._answers, [asked for asked, _ in batch])
            except Exception as error:  # noqa: BLE001 - each request of the batch ends with it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for answer, (_, future) in zip(answers, batch, strict=True):
                if not future.done():  # not cancelled by its deadline
                    usage = replace(answer.usage, gpu_seconds=share.seconds / len(batch))
                    future.set_result(replace(answer, usage=usage))

    def _answers(self, asked: list[AskedClip]) -> list[Answer]:
        found, (answers, lengths) = [], self._answerer.answer_clips(asked)
        for one, ids, length in zip(asked, answers, lengths, strict=True):
            reason = "MAX_TOKENS" if len(ids) >= one.max_new_tokens else "STOP"
            found.append(Answer(self._answerer.processor.decode(ids), reason, usage=Usage(length, len(ids))))
        return found
