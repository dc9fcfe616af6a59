"""CPU time per captioned video, divided into that of the SDK and that of the captioner.

    python -m benchmarks.caption.overhead --videos 2000

The service runs in another process. Three ways are measured in CPU milliseconds per request, which depend little on
the load of the machine: the SDK's public `generate_content`, its request function with a given body, which the
captioner uses, and the whole captioner with ledger, pacing, gates and records.
"""

import argparse
import asyncio
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from sg.caption.hosted.run import caption_with_service, recipe_of
from sg.caption.hosted.services.gemini import Gemini, make_client
from sg.caption.hosted.services.records import Request, RequestMedia
from sg.caption.hosted.services.secrets import Secret
from sg.core.tracking import LoggerConfig
from tests.caption.hosted.builder import KEY, data_folder, settings
from tests.caption.hosted.fake_gemini.running import as_process

CONCURRENCY = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=2000)
    videos = parser.parse_args().videos
    os.environ["GEMINI_API_KEY"] = KEY
    with as_process() as url:
        public = asyncio.run(public_sdk(url, videos // 4))
        transport = asyncio.run(sdk_transport(url, videos // 2))
        whole = captioner(url, videos)
    print(f"{'the SDK, generate_content':<44}{public:6.2f} CPU ms per request")
    print(f"{'the SDK, its request function':<44}{transport:6.2f}")
    print(f"{'the captioner, everything':<44}{whole:6.2f}   {1000 / whole:.0f} captions per core-second (target: 300)")
    print(f"{'of it the captioner itself':<44}{whole - transport:6.2f}   (target: at most 3)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory peak {peak:.0f} MB")


def request(url: str, number: int) -> Request:
    recipe = recipe_of(settings(url))
    media = RequestMedia("video/mp4", b"clip:%d;" % number)
    return Request(
        recipe.config.model.name, recipe.prompt.system, recipe.prompt.user(18, False), media, recipe.parameters
    )


async def public_sdk(url: str, count: int) -> float:
    from google.genai import types

    client = make_client(Secret(KEY), url, "v1beta", 60)
    config = types.GenerateContentConfig(
        system_instruction="x" * 200,
        max_output_tokens=600,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )

    async def one(number: int) -> None:
        made = request(url, number)
        assert made.media is not None
        video = types.Part(inline_data=types.Blob(data=made.media.data, mime_type="video/mp4"))
        contents = [types.Content(role="user", parts=[video, types.Part(text=made.user)])]
        await client.aio.models.generate_content(model=made.model, contents=contents, config=config)

    return await measured(one, count)


async def sdk_transport(url: str, count: int) -> float:
    service = Gemini(Secret(KEY), base_url=url, api_version="v1beta", timeout_s=60)
    made = request(url, 0)

    async def one(_: int) -> None:
        await service.generate(made)

    return await measured(one, count)


async def measured(one, count: int) -> float:  # type: ignore[no-untyped-def]
    gate = asyncio.Semaphore(CONCURRENCY)

    async def gated(number: int) -> None:
        async with gate:
            await one(number)

    await gated(0)
    began = time.process_time()
    await asyncio.gather(*(gated(number) for number in range(count)))
    return 1000 * (time.process_time() - began) / count


def captioner(url: str, videos: int) -> float:
    """CPU milliseconds per video: the difference of two runs, so that the start of a process does not count."""
    spent = []
    for count in (200, 200 + videos):
        folder = Path(tempfile.mkdtemp(prefix="overhead-"))
        try:
            data = data_folder(folder, [f"v{number}" for number in range(count)])
            config = settings(url, max_concurrency=CONCURRENCY)
            began = time.process_time()
            caption_with_service(data, config, data.manifest_path, LoggerConfig(kind="csv"))
            spent.append(time.process_time() - began)
        finally:
            shutil.rmtree(folder)
    return 1000 * (spent[1] - spent[0]) / videos


if __name__ == "__main__":
    main()
