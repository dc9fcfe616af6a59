"""Commands: how a Hydra config becomes typed values, and how a function becomes a command.

This is the only place that knows Hydra and OmegaConf on behalf of the steps: their functions take frozen dataclasses.
"""

import contextlib
import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from sg.core.errors import ConfigError, SgError
from sg.core.help import help_text
from sg.core.plugins import load_plugins

Config = TypeVar("Config")

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "conf"
PROJECT_FOLDER = CONFIG_FOLDER.parent

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

# `${sg.path:work}` in a config: a folder below the project's, whatever folder the command is typed in.
OmegaConf.register_new_resolver("sg.path", lambda path: str(PROJECT_FOLDER / path), replace=True)


def register(group: str | None, name: str, schema: type) -> None:
    """Put the dataclass `schema` into Hydra's config store as `group/name`; YAML files name it first in `defaults`."""
    ConfigStore.instance().store(group=group, name=name, node=schema)


def _unknown_keys(node: Any, path: str = "") -> list[str]:
    """Keys that ride along in a structured node although its dataclass has no such field (`+data.foo=1`)."""
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


def typed(config: DictConfig, root: type[Config]) -> Config:
    """The composed `config` as an instance of the dataclass `root`, groups as instances of their own schemas.

    Raises:
        ConfigError: a key is unknown, a value is missing, of the wrong type, or refused by a schema's own check.
    """
    if "hydra" in config:
        config = copy.deepcopy(config)
        with flag_override(config, ["struct", "readonly"], False):
            del config["hydra"]
    unknown = _unknown_keys(config)
    if unknown:
        raise ConfigError(f"The config has no key {unknown[0]!r}: see the keys with `--cfg job`.")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"The config needs a value for {missing[0]}: give it as {missing[0]}=VALUE.")
    try:
        value = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        # A schema's own check raises inside OmegaConf's conversion: its sentence is what the user needs.
        cause = error.__cause__
        message = str(cause if isinstance(cause, ConfigError) else error).splitlines()[0]
        raise ConfigError(message) from error
    if not isinstance(value, root):
        raise ConfigError(f"The config should be a {root.__name__}, but is a {type(value).__name__}.")
    return value


def command(config_name: str, root: type[Config]) -> Callable[[Callable[[Config], Any]], Callable[[], None]]:
    """Make a function of one typed config a Hydra command with the primary config `conf/<config_name>.yaml`."""

    def decorate(function: Callable[[Config], Any]) -> Callable[[], None]:
        mistakes: list[SgError] = []

        def run(config: DictConfig) -> Any:
            try:
                return function(typed(config, root))
            except SgError as error:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                # Kept until Hydra is done: it would print a line of its own above the sentence.
                mistakes.append(error)

        # Hydra reads the task's name and module from the function it is given.
        run.__name__, run.__qualname__, run.__module__ = function.__name__, function.__qualname__, function.__module__
        run.__doc__ = function.__doc__
        main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)

        def guarded() -> None:
            if {"--help", "-h"} & set(sys.argv[1:]):
                print(help_text(CONFIG_FOLDER, config_name), end="")
                return
            with one_sentence_errors():
                load_plugins(sys.argv[1:])
                cast(Callable[[], None], main)()
                for mistake in mistakes:
                    raise mistake

        return guarded

    return decorate


@contextlib.contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Print a user's mistake as one sentence and exit with 1; show the trace of anything else, or when asked to.

    Hydra prints config errors over many lines and advises `+key`, which this project refuses. It hands exceptions on
    when `HYDRA_FULL_ERROR` is set, so the variable is set for the length of the block.
    """
    if os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0"):
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except KeyboardInterrupt:
        _say("\nstopped: the same command goes on where this one stopped")
        sys.exit(INTERRUPTED)
    except (HydraException, OmegaConfBaseException) as error:
        _say(f"error: {_sentence(error)}")
        sys.exit(getattr(error, "exit_code", 1))
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _say(sentence: str) -> None:
    """Print `sentence` now: what is left to `sys.exit` would come after a sweep's report, if at all."""
    print(sentence, file=sys.stderr, flush=True)


def _sentence(error: BaseException) -> str:
    """The one sentence that tells a user what `error` is about."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(name for name in error.options if not name.endswith("_schema"))
        return f"There is no {group}={option}: choose one of {', '.join(options)}."
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    cause = next((link for link in chain if isinstance(link, SgError)), None) or _root_cause(error)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        return f"The config has no key {cause.full_key!r}: see the keys with `--cfg job`."
    first_line = str(cause).strip().splitlines()[0]
    full_key = getattr(cause, "full_key", None)
    return f"{full_key}: {first_line}" if full_key else first_line


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def invocation() -> str:
    """The command line of this process as one would type it again; what a launcher added to it is left out."""
    import shlex

    program = Path(sys.argv[0]).resolve()
    name = str(program.relative_to(PROJECT_FOLDER)) if program.is_relative_to(PROJECT_FOLDER) else program.name
    added = ("hydra.mode=", "hydra.run.dir=", "--config-name=", "--config-dir=")
    return shlex.join(["python", name, *(word for word in sys.argv[1:] if not word.startswith(added))])
