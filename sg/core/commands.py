"""Commands: how a Hydra config becomes typed values, and how a function becomes a command.

This is the only place that knows Hydra and OmegaConf on behalf of the steps: their functions take frozen dataclasses.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sg.core.errors import ConfigError

Config = TypeVar("Config")

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "conf"
PROJECT_FOLDER = CONFIG_FOLDER.parent


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
        def run(config: DictConfig) -> Any:
            return function(typed(config, root))

        # Hydra reads the task's name and module from the function it is given.
        run.__name__, run.__qualname__, run.__module__ = function.__name__, function.__qualname__, function.__module__
        run.__doc__ = function.__doc__
        main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)
        return cast(Callable[[], None], main)

    return decorate


def full_errors() -> bool:
    """Whether the user asked for stack traces (`HYDRA_FULL_ERROR=1`)."""
    return os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")


def invocation() -> str:
    """The command line of this process as one would type it again."""
    import shlex

    program = Path(sys.argv[0])
    name = str(program.relative_to(PROJECT_FOLDER)) if program.is_relative_to(PROJECT_FOLDER) else program.name
    return shlex.join(["python", name, *sys.argv[1:]])
