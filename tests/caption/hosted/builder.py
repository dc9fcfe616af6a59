"""Small data folders of tiny files, and settings that ask the loopback service."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.hosted.captioners.gemini import GeminiCaptionerConfig
from sg.caption.hosted.prices import PriceConfig
from sg.caption.hosted.run import caption_with_service
from sg.caption.hosted.settings import (
    BatchConfig,
    HostedCaptionerConfig,
    QuotaConfig,
    RetryConfig,
    ServiceModelConfig,
)
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from tests.caption.hosted.fake_gemini.forms import KEY as KEY
from tests.study.commands import ROOT, environment

DURATION_S = 18.0


def data_folder(
    folder: Path,
    ids: Sequence[str],
    *,
    size: int = 0,
    names: dict[str, str] | None = None,
    extra: dict[str, Any] | None = None,
) -> DataConfig:
    """Files of a few bytes that contain their id; the fake service reads it back."""
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    records = []
    described = json.dumps({"has_audio": False} | (extra or {}))
    for video_id in ids:
        name = (names or {}).get(video_id, f"{video_id}.mp4")
        data = b"clip:%s;" % video_id.encode()
        (videos / name).write_bytes(data + b"\0" * (size - len(data)))
        records.append(VideoRecord(video_id, "test", name, DURATION_S, 64, 48, 25.0, 450, extra=described))
    write_manifest(folder / "manifest.parquet", records)
    return DataConfig(name="clips", dir=str(folder), videos=str(videos))


def settings(
    url: str, config_class: type[HostedCaptionerConfig] = GeminiCaptionerConfig, **values: Any
) -> HostedCaptionerConfig:
    """A captioner that asks the service at `url`: no limits, short pauses, no canary."""
    model = ServiceModelConfig(
        name="gemini-3.5-flash-lite",
        prices=[PriceConfig(0.30, 2.50, source="test", read_on="2026-10-05")],
        tokens_per_frame={"unspecified": 70.0},
        audio_tokens_per_s=25,
        timestamp_tokens_per_s=5,
    )
    defaults: dict[str, Any] = {
        "name": "gemini",
        "model": model,
        "base_url": url,
        "quota": QuotaConfig(rpm=None, tpm=None, usd_per_10_min=None),
        "retry": RetryConfig(deadline_s=20, backoff_s=0.01, max_wait_s=0.3),
        "generation": {"max_output_tokens": 600},
        "canary": 0,
        "budget_usd": 100.0,
        "i_have_rights": True,
    }
    return config_class(**(defaults | values))


def caption(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """Caption the data; returns the path of the captions."""
    return caption_with_service(data, config, data.manifest_path, LoggerConfig(kind="csv"))


def batch_settings(url: str, **values: Any) -> HostedCaptionerConfig:
    """The same in batch jobs that are polled without a pause; `values` are settings of the batches."""
    return settings(url, tier="batch", batch=BatchConfig(poll_s=0.02, max_poll_s=0.05, **values))


def start_worker(folder: Path, url: str, concurrency: int, kind: str = "gemini") -> subprocess.Popen[str]:
    """A captioning process that may be killed."""
    command = [sys.executable, "-m", "benchmarks.caption.worker", str(folder), url, str(concurrency), kind]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
