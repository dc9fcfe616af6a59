"""Commands: a Hydra config becomes typed values, and a function of a typed config becomes a command.

The functions of the steps take dataclasses and know neither Hydra nor OmegaConf.
"""

import contextlib
import copy
import dataclasses
import gc
import logging
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from sg.core.errors import ConfigError, DataError, ExitCode, SgError, Terminated, disk_problem
from sg.core.help import help_text
from sg.core.layout import CONFIG_FOLDER, as_typed, located
from sg.core.mistakes import ordered, renamed, sentence, unknown_key, user_error, with_several
from sg.core.output import json_alone
from sg.core.places.mirror import with_addresses
from sg.core.places.settings import in_step, local_place
from sg.core.plugins import load_plugins
from sg.core.status import reported_in

Config = TypeVar("Config")
_CAPTIONERS = ("judge", "other", "server")
"""Keys besides `captioner` whose settings are those of a captioner, and whose mistakes name `captioner`."""

# `${sg.path:work}` in a config is an absolute path: in a clone below the clone, elsewhere below the current folder.
OmegaConf.register_new_resolver("sg.path", lambda path: str(located(path)), replace=True)
# Hydra makes the folders of its own settings before `typed` reads a config.
OmegaConf.register_new_resolver("sg.home", lambda path: local_place("paths.runs", expanded(str(path))), replace=True)


def register(group: str | None, name: str, schema: type) -> None:
    """Store the dataclass `schema` in Hydra's config store as `group/name`; YAML files name it first in `defaults`."""
    ConfigStore.instance().store(group=group, name=name, node=schema)


def _unknown_keys(node: Any, path: str = "") -> list[str]:
    """Keys of a structured node that its dataclass does not have; Hydra lets `+data.foo=1` add them."""
    if isinstance(node, ListConfig):
        return []
    schema = OmegaConf.get_type(node)
    known = {field.name for field in dataclasses.fields(schema)} if dataclasses.is_dataclass(schema) else None
    unknown = []
    for key in node:
        name = f"{path}.{key}" if path else str(key)
        if known is not None and key not in known:
            unknown.append(name)
        elif not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node[key]):
            unknown.extend(_unknown_keys(node[key], name))
    return unknown


def _localise(node: Any, path: str = "") -> None:
    """Replace `~` at the beginning of every path, and an address by the local folder that mirrors it.

    A shell leaves `~` alone behind a key (`data.videos=~/clips`).

    Raises:
        ConfigError: a number is NaN or infinite.
    """
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        name = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_config(node[key]):
            _localise(node[key], name)
        elif isinstance(node[key], str):
            node[key] = local_place(name, expanded(node[key]))
        elif isinstance(node[key], float) and not math.isfinite(node[key]):
            raise ConfigError(f"{name}={node[key]} should be a finite number.")


def typed(config: DictConfig, root: type[Config]) -> Config:
    """Return the composed `config` as an instance of the dataclass `root`, with each group as its own schema.

    Raises:
        ConfigError: a key is unknown, a value is missing or of the wrong type, or a schema's own check fails.
    """
    config = copy.deepcopy(config)
    with flag_override(config, ["struct", "readonly"], False):
        config.pop("hydra", None)
        _localise(config)
    unknown = _unknown_keys(config)
    if unknown:
        raise ConfigError(unknown_key(unknown[0], config))
    try:
        for slot in _CAPTIONERS:
            with renamed({"captioner.": f"{slot}."}):
                OmegaConf.to_object(config[slot]) if OmegaConf.is_config(config.get(slot)) else None
        value = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        missing = min(OmegaConf.missing_keys(config))
        raise ConfigError(f"The config needs a value for {missing}: give it as {missing}=VALUE.") from error
    except OmegaConfBaseException as error:
        # A schema's own check raises inside OmegaConf's conversion; the user needs its message, not OmegaConf's.
        cause = error.__cause__
        message = str(cause if isinstance(cause, ConfigError) else error).splitlines()[0]
        raise ConfigError(message) from error
    if not isinstance(value, root):
        raise ConfigError(f"The config should be a {root.__name__}, but is a {type(value).__name__}.")
    data = getattr(value, "data", None)
    if data is not None and HydraConfig.initialized():  # for the commands that messages name
        data.option = HydraConfig.get().runtime.choices.get("data") or ""
    return value


def expanded(path: str) -> str:
    """The path with the home folder in place of `~`."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def given(key: str, words: Sequence[str] | None = None) -> str | None:
    """The first of `words` (null: of the command line) that sets `key` or a key below it; None if there is none."""
    if words is None:
        words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return next((word for word in words if re.match(rf"\+*{re.escape(key)}[.=@]", word)), None)


def refuse_given(unused: Mapping[str, str], where: str = "", words: Sequence[str] | None = None) -> None:
    """Raise ConfigError if a word (as in `given`) sets one of the keys `unused`; their values say what to do."""
    for key, advice in unused.items():
        if word := given(key, words):
            raise ConfigError(f"{' '.join(filter(None, (word, 'has no effect', where)))}: {advice}.")


def command(
    config_name: str, root: type[Config], *, sweeps: bool = True, unused: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Callable[[Config], Any]], Callable[[], None]]:
    """Decorator: turn a function of one typed config into a Hydra command whose config is `conf/<config_name>.yaml`.

    It has the project's `--help`, loads plug-ins, prints errors as one sentence, and keeps stdout for the JSON object
    under `format=json`. Without `sweeps` it refuses `-m`; of groups that it shares it refuses the keys `unused`.
    """

    def decorate(function: Callable[[Config], Any]) -> Callable[[], None]:
        mistakes: list[SgError] = []
        calls: list[str] = []

        def run(config: DictConfig) -> Any:
            calls.append(config_name)
            try:
                refuse_given(unused, f"on {config_name}")
                with disk_problems_in_one_sentence():
                    return _reported(function, typed(config, root))
            except SgError as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                # Raise it after Hydra has returned, because Hydra would print a line of its own first.
                mistakes.append(error)

        # Hydra reads the name and the module of the task from this function.
        run.__name__, run.__qualname__, run.__module__ = function.__name__, function.__qualname__, function.__module__
        run.__doc__ = function.__doc__
        main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)

        def guarded() -> None:
            if {"--help", "-h"} & set(sys.argv[1:]):
                print(as_typed(help_text(CONFIG_FOLDER, config_name)), end="")
                return
            mistakes.clear()  # of an earlier call in this process
            with json_alone(sys.argv[1:]), one_sentence_errors():
                sys.argv[1:] = with_several(ordered(sys.argv[1:]))
                is_sweep = bool({"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(sys.argv[1:]))
                if is_sweep and not sweeps:
                    raise ConfigError(f"{config_name} takes one value per setting: leave out -m.")
                load_plugins(sys.argv[1:])
                cast(Callable[[], None], main)()
                for mistake in mistakes:
                    raise mistake
                if is_sweep and not calls and config_name != "train":
                    raise ConfigError("The sweep has no jobs: a pattern of the command line matches nothing.")

        return guarded

    return decorate


def _reported(function: Callable[[Config], Any], settings: Config) -> Any:
    """Call the function of a command; one with a work folder reports its progress there, for `sg status`.

    Before it, the mirrors of addresses are brought up to date; after it, what it wrote is copied to them.
    """
    # Importing torch and transformers makes half a million objects and no garbage. To look for it at Python's threshold
    # of 700 costs a tenth of the start.
    gc.set_threshold(5_000)
    paths = getattr(settings, "paths", None)
    if paths is None:
        return function(settings)
    with in_step(), reported_in(paths.work, HydraConfig.get().runtime.output_dir):
        return function(settings)


@contextlib.contextmanager
def disk_problems_in_one_sentence() -> Iterator[None]:
    """Raise a DataError for any error of the block that a full disk, missing permissions or a bad path are behind."""
    try:
        yield
    except Exception as error:
        if sentence := disk_problem(error):
            raise DataError(sentence) from error
        raise


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Print a user's error as one sentence and exit with its code; let every other exception pass with its trace.

    With `HYDRA_FULL_ERROR=1` in the environment, every exception passes. Hydra itself prints config errors over many
    lines and advises `+key`, which this project refuses. Hydra raises exceptions to its caller only if
    `HYDRA_FULL_ERROR` is set, so the block sets it.
    """
    if os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0"):
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # On a full disk, `logging` would print a stack trace for every line that a log file misses.
    logging.raiseExceptions = False
    try:
        with sigterm_raises(), disk_problems_in_one_sentence():
            yield
    except KeyboardInterrupt as stop:
        _print_now("\nstopped: run the same command again to resume")
        sys.exit(ExitCode.TERMINATED if isinstance(stop, Terminated) else ExitCode.INTERRUPTED)
    except (HydraException, OmegaConfBaseException) as error:
        _print_now(f"error: {with_addresses(as_typed(sentence(error)))}")
        cause = user_error(error)
        sys.exit(ExitCode.USAGE if cause is None else cause.exit_code)
    finally:
        logging.raiseExceptions = True
        del os.environ["HYDRA_FULL_ERROR"]


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `Terminated` in the block when this process gets SIGTERM.

    A process of a team (`WORLD_SIZE`) keeps the system's reaction: while it waits for the others inside PyTorch, no
    Python code runs.
    """
    if threading.current_thread() is not threading.main_thread() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_now(sentence: str) -> None:
    """Print `sentence` to stderr before exiting; `sys.exit(sentence)` would print it after a sweep's report."""
    print(sentence, file=sys.stderr, flush=True)


def invocation() -> str:
    """Return the command line of this `train` process as a user types it, without what a launcher added."""
    import shlex

    added = ("hydra.mode=", "hydra.run.dir=", "--config-name=", "--config-dir=")
    words = [word for word in sys.argv[1:] if not word.startswith(added)]
    return as_typed(shlex.join(["python", "train.py", *words]))
