"""The Ray engine: the same batches, decoded and embedded by actors of a Ray cluster (extra `ray`).

Batches travel as pickled bytes, so that every step is the one of the local engine and the vectors are the same bytes.
Ray restarts a dead actor and repeats its batch; only the driver writes parts.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sg.core.errors import ConfigError, SgError
from sg.core.progress import Progress
from sg.embed.batches import Batch, EmbeddedBatch, PartWriter, decoded, embedded, plan_batches
from sg.embed.parts import Part
from sg.embed.registry import EMBEDDERS, Embedder
from sg.embed.settings import EmbedderConfig
from sg.embed.video_files import DecodeJob, FrameSettings, frame_settings, read_video

_MAX_BLOCKS = 4096
"""Ray distributes blocks of rows; more blocks than this cost more than the finer distribution saves."""


def check_ray(config: EmbedderConfig) -> None:
    """Raise ConfigError when Ray is not installed, or the vectors would depend on the node that computes them."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"engine=ray needs Ray ({error}): install it with `pip install -e '.[ray]'`, or use engine=local."
        ) from error
    if config.depends_on_machine:
        raise ConfigError(
            "embedder.dtype=auto would depend on the node with engine=ray: set embedder.dtype=bfloat16 (GPUs) or "
            "embedder.dtype=float32."
        )


def embed_parts_on_ray(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, bar: Progress
) -> None:
    """Embed the videos of `parts` on the cluster and write each part when its last batch is done.

    The cluster is the connected one, else the one at RAY_ADDRESS, else a new one on this machine. Every node must see
    the video files and the weights under the same paths.
    """
    writer = PartWriter(parts, config.batch_size, folder, bar)
    with _cluster():
        rows = [{"payload": pickle.dumps(batch)} for batch in plan_batches(parts, config.batch_size)]
        for row in _pipeline(rows, frame_settings(videos, config), config).iter_rows():
            outcome: EmbeddedBatch | SgError = pickle.loads(row["payload"])
            if isinstance(outcome, SgError):
                raise outcome
            writer.add(outcome)


def _pipeline(rows: list[dict[str, bytes]], settings: FrameSettings, config: EmbedderConfig) -> Any:
    import ray

    have = ray.cluster_resources()
    cpus, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
    models = gpus or 1
    decoders = config.workers or max(1, cpus - models)
    share = max(0.1, min(1.0, round((cpus - 0.5) / (decoders + models), 2)))  # so that all actors fit
    batches = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS))
    decoded_batches = batches.map(
        Decode,
        fn_constructor_args=(settings, config.timeout_s),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=decoders),
        num_cpus=share,
    )
    place = {"num_gpus": 1} if gpus else {"num_cpus": share}
    return decoded_batches.map(
        Embed,
        fn_constructor_args=(config,),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=models),
        **place,
    )


class Decode:
    """An actor that decodes batches, in a child process that is killed when a video hangs its decoder."""

    def __init__(self, settings: FrameSettings, timeout_s: float) -> None:
        from sg.video.workers import WorkerPool

        self._settings = settings
        self._pool: WorkerPool[DecodeJob, Any] = WorkerPool(read_video, 1, timeout_s)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """A pickled Batch to a pickled DecodedBatch or the error that ends the run."""
        batch: Batch = pickle.loads(row["payload"])
        jobs = [DecodeJob(record, self._settings) for record in batch.records]
        try:
            return {"payload": pickle.dumps(decoded(batch, list(self._pool.map(jobs))))}
        except SgError as error:
            return {"payload": pickle.dumps(error)}


class Embed:
    """An actor that holds the model.

    The model is loaded with the first batch and not in the constructor, so that its errors reach the driver.
    """

    def __init__(self, config: EmbedderConfig) -> None:
        self._config = config
        self._embedder: Embedder | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """A pickled DecodedBatch to a pickled EmbeddedBatch; an error is passed on."""
        batch = pickle.loads(row["payload"])
        if isinstance(batch, SgError):
            return row
        try:
            self._embedder = self._embedder or EMBEDDERS.of(self._config)(self._config)
            return {"payload": pickle.dumps(embedded(batch, self._embedder))}
        except SgError as error:
            return {"payload": pickle.dumps(error)}


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """A connection to Ray: the existing one, or a new one that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import logging

    import ray

    if ray.is_initialized():
        _quieten()
        yield
        return
    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        _quieten()
        yield
    finally:
        ray.shutdown()


def _quieten() -> None:
    """Switch off Ray's own bars and messages, and keep batches in order, so that parts finish one after another."""
    import logging

    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
