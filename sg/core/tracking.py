"""Tracking: one Weights & Biases run and one CSV file for the numbers of a job.

W&B is online when a key is configured and the service answers. Otherwise it is offline, and one line explains how to
sync. It never prompts, and waits for seconds at most; the end of an online run waits for two minutes. The CSV file is
always written, so the numbers exist without an account.
"""

import csv
import logging
import netrc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlparse

from sg.core import status
from sg.core.commands import register
from sg.core.errors import first_line
from sg.core.mistakes import check_choice

log = logging.getLogger(__name__)

KINDS = ("wandb", "csv")
INIT_TIMEOUT_S = 10
"""Seconds until a run that W&B does not take is logged offline; W&B's own limit is 90."""
FINISH_TIMEOUT_S = 120
"""Seconds that the end of a run waits for its upload; without a limit, W&B waits for hours if the network is gone."""
MODES = ("auto", "online", "offline", "disabled")


@dataclass
class LoggerConfig:
    """Where numbers are logged besides the CSV file.

    Attributes:
        kind: `wandb`, or `csv` for the file only.
        project: W&B project.
        entity: W&B team or user; null is the owner of the key.
        mode: `auto` is online when a key is configured, else offline.
        show_frames: log frames of the benchmark's videos beside the answers in W&B's table. Null does so only for the
            demo world, because benchmarks may not be redistributed.
    """

    kind: str = "wandb"
    project: str = "sharegemini"
    entity: str | None = None
    mode: str = "auto"
    tags: list[str] = field(default_factory=list)
    show_frames: bool | None = None

    def __post_init__(self) -> None:
        check_choice("logger.kind", self.kind, KINDS)
        check_choice("logger.mode", self.mode, MODES)


register("logger", "logger_schema", LoggerConfig)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def resolved_mode(config: LoggerConfig) -> Any:
    """`online`, `offline` or `disabled`; the environment variable WANDB_MODE has precedence over `config.mode`."""
    mode = os.environ.get("WANDB_MODE") or config.mode
    return mode if mode != "auto" else ("online" if _has_key() else "offline")


class Tracker:
    """The numbers of one job: `log` appends to `metrics.csv` in `folder` and to the job's W&B run.

    `axes` sets the x axis of groups of keys in W&B: {`train/caption/*`: `train/caption/samples`}. Prefixes group keys:
    `train/caption/loss`, `video_mme/with_subtitles/overall`, `speed/samples_per_s`.
    """

    def __init__(
        self,
        config: LoggerConfig,
        folder: Path,
        *,
        name: str,
        group: str,
        job_type: str,
        settings: Mapping[str, Any],
        tags: Sequence[str] = (),
        axes: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._config = folder, config
        self._started = time.time()
        self._csv = (folder / "metrics.csv").open("a", newline="", encoding="utf-8")
        if self._csv.tell() == 0:
            csv.writer(self._csv).writerow(["time_s", "key", "value"])
        self._run: Any = None
        status.listeners.append(self._follow)
        if config.kind == "wandb" and resolved_mode(config) != "disabled":
            self._run = self._start(config, name, group, job_type, settings, [*config.tags, *tags])
            for keys, axis in (axes or {}).items():
                self._send(partial(_set_axis, keys=keys, axis=axis))

    def _start(
        self,
        config: LoggerConfig,
        name: str,
        group: str,
        job_type: str,
        settings: Mapping[str, Any],
        tags: Sequence[str],
    ) -> Any:
        import wandb

        begin = partial(
            wandb.init,
            project=config.project,
            entity=config.entity,
            name=name,
            group=group,
            job_type=job_type,
            tags=[tag[:64] for tag in tags],
            config=dict(settings),
            dir=str(self.folder),
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_TIMEOUT_S,
                finish_timeout=FINISH_TIMEOUT_S,
                finish_timeout_raises=True,
            ),
        )
        mode: Any = resolved_mode(config)
        why = "the mode is offline" if _has_key() else "no key"
        try:
            run = begin(mode=mode)
        except _failures() as error:
            # The service cannot be reached, or refuses the key. Later runs of this process do not wait for it again.
            mode = os.environ["WANDB_MODE"] = "offline"
            why = first_line(error)
            try:
                run = begin(mode=mode)
            except _failures() as second:
                log.warning("W&B: it cannot start (%s), so this run is not logged there", first_line(second))
                return None
        if mode == "offline":
            log.info(
                "W&B: %s, so this run is logged offline; publish it with: wandb sync %s", why, Path(run.dir).parent
            )
        return run

    def log(self, values: Mapping[str, float]) -> None:
        """Record `values` as one point in time."""
        self._write(values)
        self._send(lambda run: run.log(dict(values)))

    def _follow(self, values: Mapping[str, float]) -> None:
        """Send the numbers of `sg status` to W&B."""
        self._send(lambda run: run.log(dict(values)))

    def _send(self, action: Callable[[Any], object]) -> None:
        """Call `action` with the W&B run, if there is one.

        W&B writes through a process of its own. If that process dies, the job continues without it: hours of training
        must not end because their numbers cannot be shown, and `metrics.csv` has them.
        """
        if self._run is None:
            return
        try:
            action(self._run)
        except _failures() as error:
            log.warning(
                "W&B: its process ended (%s), so the rest of this run is not logged there; %s has all numbers",
                first_line(error), self.folder / "metrics.csv",
            )  # fmt: skip
            self._run = None

    def _write(self, values: Mapping[str, float]) -> None:
        elapsed = f"{time.time() - self._started:.3f}"
        csv.writer(self._csv).writerows([elapsed, key, repr(float(value))] for key, value in values.items())
        self._csv.flush()

    def summary(self, values: Mapping[str, float | str]) -> None:
        """Set final values of the run (scores, costs), which W&B's run table shows."""
        self._write({key: value for key, value in values.items() if isinstance(value, (int, float))})
        self._send(lambda run: run.summary.update(dict(values)))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table to W&B, with [H, W, 3] arrays as images, and its length to `metrics.csv`.

        Other files of the run or of the report hold the same rows.
        """
        self._write({name: len(rows)})
        if self._run is not None:
            import wandb

            data: list[Any] = [[wandb.Image(cell) if hasattr(cell, "shape") else cell for cell in row] for row in rows]
            self._send(lambda run: run.log({name: wandb.Table(columns=list(columns), data=data)}))

    def image(self, name: str, path: Path) -> None:
        """Log the image at `path` to W&B."""
        if self._run is not None:
            import wandb

            self._send(lambda run: run.log({name: wandb.Image(str(path))}))

    def shows_frames(self, is_public: bool) -> bool:
        """True when frames of videos are logged; by default only those of `is_public` videos."""
        wanted = is_public if self._config.show_frames is None else self._config.show_frames
        return self._run is not None and wanted

    def artefact(
        self,
        name: str,
        kind: str,
        path: Path,
        made_from: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
        upload: bool = False,
    ) -> str:
        """Log the file or folder at `path` as a W&B artefact; returns its name, for `made_from` of later artefacts.

        W&B gets a reference to the path; with `upload` it gets the file. The lineage is in `made_from` of the metadata,
        because an offline run cannot declare its inputs.
        """
        if self._run is not None and path.exists():
            import wandb

            metadata = {**(details or {}), "made_from": list(made_from)}
            artefact = wandb.Artifact(name, type=kind, metadata=metadata)
            if upload:
                artefact.add_file(str(path), policy="immutable")
            else:
                artefact.add_reference(path.resolve().as_uri(), name=path.name, checksum=False)
            self._send(lambda run: run.log_artifact(artefact))
        return name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status.listeners.remove(self._follow)
        self._csv.close()
        self._send(partial(_finish, exit_code=0 if error is None else 1))


def _set_axis(run: Any, keys: str, axis: str) -> None:
    run.define_metric(keys, step_metric=axis)


def _finish(run: Any, exit_code: int) -> None:
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        log.warning(
            "W&B: the upload of this run did not end within %d s; complete it with: wandb sync %s",
            FINISH_TIMEOUT_S, Path(run.dir).parent,
        )  # fmt: skip


def _failures() -> tuple[type[Exception], ...]:
    """Errors of W&B and of the process that it writes through."""
    import wandb
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

    return wandb.errors.Error, MailboxClosedError, HandleAbandonedError, ConnectionError
