"""One captioning process of tests and benchmarks: `python -m benchmarks.caption.worker FOLDER URL CONCURRENCY KIND`."""

import json
import logging
import os
import resource
import sys
import time
from pathlib import Path

from sg.caption.hosted.run import caption_with_service
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from tests.caption.hosted.builder import KEY, batch_settings, settings


def main(folder: Path, url: str, concurrency: int, kind: str) -> None:
    os.environ["GEMINI_API_KEY"] = KEY
    logging.basicConfig(level=logging.WARNING)
    data = DataConfig(name="clips", dir=str(folder), videos=str(folder / "videos"))
    config = batch_settings(url) if kind == "gemini_batch" else settings(url, max_concurrency=concurrency)
    config.budget_usd = 10_000.0
    import google.genai  # noqa: F401 - imported here, so that its import is not measured

    began = time.process_time()
    caption_with_service(data, config, data.manifest_path, LoggerConfig(kind="csv"))
    used = {"cpu_s": time.process_time() - began, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    print(json.dumps(used), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
