"""A user's mistakes as one sentence that names the nearest right word, and command lines as Hydra takes them.

Hydra itself prints several lines for a wrong override and advises `+key`, which this project refuses.
"""

import contextlib
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from sg.core.errors import ConfigError, SgError

WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
"""Options of Hydra whose value may be the next word."""
_FOLDERS = re.compile(r"\+{0,2}(hydra\.(?:run\.dir|sweep\.dir|sweep\.subdir))=(['\"]?)(.*)\2")


_IN_FILE = re.compile(
    r"In '(?P<file>[^']*)': \w+ raised while composing config:\s*(?P<reason>[^\n]*)(?:\n\s*full_key: (?P<key>\S+))?"
)
"""What Hydra writes about a YAML file with a wrong key or value."""
GROUP, MORE = "benchmark", "more_benchmarks"
_LIST = re.compile(rf"{GROUP}=\[([^\[\]]*)\]")
_KEY = re.compile(rf"(\+*){GROUP}\.(.*)", re.DOTALL)


def nearest(written: str, options: Collection[str]) -> str:
    """` (did you mean X?)` with the option that is most similar to `written`, or "" if none is similar."""
    close = get_close_matches(written.lower(), sorted(options), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def check_choice(key: str, value: str, options: Collection[str]) -> None:
    """Raise ConfigError unless `value` is one of `options`; `key` is the whole name of the setting."""
    if value not in options:
        hint = nearest(value, options)
        raise ConfigError(f"{key}={value!r}{hint} should be one of {', '.join(options)}.")


def check_folder_name(key: str, name: str) -> None:
    """Raise ConfigError if `name` cannot name a folder inside another one; `key` is the whole name of the setting."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ConfigError(f"{key}={name!r} names a folder: expected letters, digits, dots and dashes.")


def check_numbers(prefix: str, settings: Any, **least: float) -> None:
    """Raise ConfigError where a number of `settings` is below its least value; one that is null is not checked."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= bound:
            raise ConfigError(f"{prefix}{name}={value} should be at least {bound}.")


def listed_lines(key: str, path: Path, what: str) -> list[str]:
    """The lines of a file that the setting `key` names, stripped; `what` is what a line should hold.

    Raises:
        ConfigError: the file is missing, empty, or not a text in UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"{key}={path} does not exist: expected a file with {what} per line.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ConfigError(f"{key}={path} is not a text in UTF-8: expected {what} per line.") from None
    if not any(lines):
        raise ConfigError(f"{key}={path} is empty: expected {what} per line.")
    return lines


@contextlib.contextmanager
def renamed(keys: Mapping[str, str]) -> Iterator[None]:
    """Raise an SgError of the block with other names of settings: each of `keys` becomes its value."""
    try:
        yield
    except SgError as error:
        sentence = str(error)
        for key, here in keys.items():
            sentence = sentence.replace(key, here)
        raise type(error)(sentence) from error


def first_action(arguments: Sequence[str], actions: Collection[str]) -> str | None:
    """The first word of a command line if it is an action of the command; None if it is a setting or an option.

    Raises:
        ConfigError: it is neither.
    """
    if not arguments or "=" in arguments[0] or arguments[0].startswith(("-", "+", "~")):
        return None
    if arguments[0] not in actions:
        hint = nearest(arguments[0], actions)
        raise ConfigError(f"There is no action {arguments[0]!r}{hint}: choose one of {', '.join(sorted(actions))}.")
    return arguments[0]


def ordered(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with Hydra's options first: it takes no option after a setting (`seed=1 -m`).

    Raises:
        ConfigError: a word removes a setting (`~seed`), or names no folder for the output.
    """
    options: list[str] = []
    settings: list[str] = []
    for index, word in enumerate(arguments):
        follows = index > 0 and arguments[index - 1] in WITH_VALUE
        (options if word.startswith("-") or follows else settings).append(word)
    for word in settings:
        if word.startswith("~"):
            raise ConfigError(f"{word} would remove a setting: set another value instead, as KEY=VALUE.")
        folder = _FOLDERS.fullmatch(word)
        if folder and (not folder[3] or folder[3].startswith("~")):
            raise ConfigError(f"{folder[1]}={folder[3]} is not a folder: write its whole path.")
    return [*options, *settings]


def with_several(words: Sequence[str]) -> list[str]:
    """The words of a command line with `benchmark=[video_mme,mvbench]` spelled out.

    Hydra would merge the files of all options into one package. So the first option stays in `benchmark`, and each
    further one becomes a member of `more_benchmarks`, under its name.

    `benchmark.KEY=VALUE` then sets the key of all of them, and `benchmark.NAME.KEY=VALUE` that of one.

    Raises:
        ConfigError: the list is empty, or names a benchmark twice.
    """
    lists = [found for word in words if (found := _LIST.fullmatch(word))]
    if not lists:
        return list(words)
    names = [name.strip().strip("'\"") for name in lists[-1][1].split(",")]
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(f"{lists[-1][0]} should name different benchmarks, such as benchmark=[video_mme,mvbench].")
    first, *others = names
    packages = {first: GROUP} | {name: f"{MORE}.{name}" for name in others}
    chosen = [f"{GROUP}={first}", *(f"+{GROUP}@{MORE}.{name}={name}" for name in others)]
    spelled: list[str] = []
    for word in words:
        if _LIST.fullmatch(word):
            spelled += chosen if word == lists[-1][0] else []
        elif key := _KEY.fullmatch(word):
            name, _, rest = key[2].partition(".")
            one = {name: packages[name]} if name in packages and rest else packages
            path = rest if name in packages and rest else key[2]
            spelled += [f"{key[1]}{package}.{path}" for package in one.values()]
        else:
            spelled.append(word)
    return spelled


def sentence(error: BaseException) -> str:
    """Return `error`, raised while a config was composed or by a command, as one sentence for a user."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = sorted(name for name in error.options if not name.endswith("_schema"))
        return f"There is no {group}={option}{nearest(option, options)}: choose one of {', '.join(options)}."
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    cause = user_error(error) or _root_cause(error)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        return unknown_key(cause.full_key, getattr(cause.parent_node, "_get_root", lambda: None)())
    if found := _IN_FILE.match(str(cause)):
        root = getattr(getattr(cause.__context__, "parent_node", None), "_get_root", lambda: None)()
        is_unknown = found["key"] and found["reason"].startswith("Key ")
        reason = unknown_key(found["key"], root) if is_unknown else f"{found['key'] or ''}: {found['reason']}"
        return f"In the config file {found['file']}.yaml: {reason.removeprefix(': ')}"
    first_line = str(cause).strip().splitlines()[0]
    full_key = getattr(cause, "full_key", None)
    if full_key and first_line.endswith("is not a ListConfig, list or tuple."):
        value = str(error).strip().partition(f"{full_key}=")[2].partition("\n")[0]
        return f"{full_key}={value} should be a list: write {full_key}=[{value or 'VALUE'}]."
    if full_key and " is not a subclass of " in first_line:
        key, value = full_key, first_line.rpartition("value: ")[2]
        return f"{key}={value} should be settings: write {key}.KEY=VALUE, or {key.replace('.', '/')}=FILE of conf."
    if full_key and first_line.endswith("is not Optional"):
        return f"{full_key}=null should have a value: it cannot be left out."
    return f"{full_key}: {first_line}" if full_key else _of_hydra(first_line)


def unknown_key(key: str, root: Any) -> str:
    """The sentence about a `key` that the config `root` does not have, with the keys that may have been meant."""
    keys = [known for known in _keys(root) if known != key] if isinstance(root, DictConfig) else []
    same = [known for known in keys if known.rpartition(".")[2] == key]
    hint = f" (did you mean {' or '.join(same[:3])}?)" if same else nearest(key, keys)
    parent = OmegaConf.select(root, key.rpartition(".")[0]) if "." in key and keys else None
    adding = " To add it, put + before the setting." if OmegaConf.get_type(parent) is dict else ""
    return f"The config has no key {key!r}{hint}: see the keys with `--cfg job`.{adding}"


def user_error(error: BaseException) -> SgError | None:
    """Return the first error of this project in the chain of causes of `error`."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, SgError):
        link = link.__cause__ or link.__context__
    return link


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """The dotted names of all keys of a config, without Hydra's own."""
    for key in node:
        if not isinstance(key, str) or (not prefix and key == "hydra"):
            continue
        yield prefix + key
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                yield from _keys(child, f"{prefix}{key}.")


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _unreadable(override: str) -> str:
    """The sentence about a word that Hydra's grammar cannot read."""
    key, has_value, value = override.partition("=")
    if not has_value:
        return f"{override!r} is not a setting: write KEY=VALUE."
    typed = as_one_value(key, value)
    advice = f": as one value, type {typed}" if typed else ", because Hydra's grammar for values cannot read it"
    return f"{override!r} is not a setting that can be read{advice}."


def as_one_value(key: str, value: str) -> str:
    """The argument to type in a shell for a `value` that Hydra reads in another way; "" if there is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Quote, QuotedString

    if value.startswith("~/"):
        value = str(Path(value).expanduser())
    for written in (value, *(QuotedString(value, quote).with_quotes() for quote in (Quote.double, Quote.single))):
        try:
            if OverridesParser.create().parse_override(f"{key}={written}").value() == value:
                return shlex.quote(f"{key}={written}")
        except HydraException:
            continue
    return ""


def _of_hydra(line: str) -> str:
    """The first line of a message of Hydra, in words that fit this project where Hydra's advice does not."""
    found = re.fullmatch(r"Ambiguous value for argument '(?P<key>[^=]*)=(?P<value>.*)'", line)
    if found:
        typed = as_one_value(found["key"], found["value"])
        return f"{found['key']}={found['value']} has several values: add -m to make a run for each, or type {typed}."
    found = re.match(
        r"Could not append to config\. An item is already at '(?P<key>[^']*)'"
        r"|Multiple values for (?P<group>[^ ]*)\."
        r"|force-add of config groups is not supported: '\+\+(?P<forced>[^=]*)=",
        line,
    )
    if found:
        key = next(name for name in found.groups() if name)
        return f"+{key}=... adds a setting, but {key} exists: write {key}=VALUE without +."
    return line
