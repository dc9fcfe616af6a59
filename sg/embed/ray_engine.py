"""The Ray engine: the same batches, decoded and embedded by actors of a Ray cluster (extra `ray`).

A batch goes through as pickled bytes, so the steps are those of the local engine to the byte. Ray starts a dead actor
again and repeats its batch; the driver alone writes parts.
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
from sg.embed.config import EmbedderConfig, PublishedEmbedderConfig
from sg.embed.embedders import Embedder, build_embedder
from sg.embed.films import FilmJob, FilmSettings, film_settings, read_film
from sg.embed.parts import Part

_MAX_BLOCKS = 4096
"""Ray hands out blocks of rows; more of them than this cost more than they spread."""


def check_ray(config: EmbedderConfig) -> None:
    """ConfigError when Ray is not installed, or the numbers of the model would depend on the node."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"engine=ray needs Ray ({error}): install it with `pip install 'sharegemini[ray]'`, or use engine=local."
        ) from error
    if isinstance(config, PublishedEmbedderConfig) and config.dtype == "auto":
        raise ConfigError(
            "embedder.dtype=auto would depend on the node with engine=ray: say embedder.dtype=bfloat16 (GPUs) or "
            "embedder.dtype=float32."
        )


def embed_parts_on_ray(
    parts: Sequence[Part], videos: Path, folder: Path, config: EmbedderConfig, bar: Progress
) -> None:
    """Embed the films of `parts` on the cluster and write each part when its last batch is there.

    The cluster is the one that is connected or that RAY_ADDRESS names, else one on this machine. Every node must see
    the films and the weights under the same paths.
    """
    writer = PartWriter(parts, config.batch_size, folder, bar)
    with _cluster():
        rows = [{"payload": pickle.dumps(batch)} for batch in plan_batches(parts, config.batch_size)]
        for row in _pipeline(rows, film_settings(videos, config), config).iter_rows():
            outcome: EmbeddedBatch | SgError = pickle.loads(row["payload"])
            if isinstance(outcome, SgError):
                raise outcome
            writer.add(outcome)


def _pipeline(rows: list[dict[str, bytes]], settings: FilmSettings, config: EmbedderConfig) -> Any:
    import ray

    have = ray.cluster_resources()
    cpus, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
    models = gpus or 1
    decoders = config.workers or max(1, cpus - models)
    share = max(0.1, min(1.0, round((cpus - 0.5) / (decoders + models), 2)))  # so that all of them find room
    films = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS))
    decoded_films = films.map(
        Decode,
        fn_constructor_args=(settings, config.timeout_s),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=decoders),
        num_cpus=share,
    )
    place = {"num_gpus": 1} if gpus else {"num_cpus": share}
    return decoded_films.map(
        Embed,
        fn_constructor_args=(config,),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=models),
        **place,
    )


class Decode:
    """An actor that decodes batches, in a process of its own that is killed when a film hangs."""

    def __init__(self, settings: FilmSettings, timeout_s: float) -> None:
        from sg.video.workers import WorkerPool

        self._settings = settings
        self._pool: WorkerPool[FilmJob, Any] = WorkerPool(read_film, 1, timeout_s)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """A pickled Batch to a pickled DecodedBatch or the error that ends the run."""
        batch: Batch = pickle.loads(row["payload"])
        jobs = [FilmJob(record, self._settings) for record in batch.records]
        try:
            return {"payload": pickle.dumps(decoded(batch, list(self._pool.map(jobs))))}
        except SgError as error:
            return {"payload": pickle.dumps(error)}


class Embed:
    """An actor that holds the model; it is loaded with the first batch, so that its errors reach the driver."""

    def __init__(self, config: EmbedderConfig) -> None:
        self._config = config
        self._embedder: Embedder | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """A pickled DecodedBatch to a pickled EmbeddedBatch; errors are handed on."""
        films = pickle.loads(row["payload"])
        if isinstance(films, SgError):
            return row
        try:
            self._embedder = self._embedder or build_embedder(self._config)
            return {"payload": pickle.dumps(embedded(films, self._embedder))}
        except SgError as error:
            return {"payload": pickle.dumps(error)}


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """A connection to Ray: the one there is, or a new one that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import logging

    import ray

    if ray.is_initialized():
        _settle()
        yield
        return
    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        _settle()
        yield
    finally:
        ray.shutdown()


def _settle() -> None:
    """Our bar is enough, and finished parts come early when batches keep their order."""
    import logging

    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
