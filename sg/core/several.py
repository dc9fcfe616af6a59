"""`benchmark=[video_mme,mvbench]`: several options of a config group in a command that has one package for the group.

Hydra would merge the files of all options into one package. The command line is rewritten before Hydra reads it: the
first option stays in `benchmark`, each further one becomes a member of `more_benchmarks`, under its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sg.core.errors import ConfigError

GROUP, MORE = "benchmark", "more_benchmarks"
_LIST = re.compile(rf"{GROUP}=\[([^\[\]]*)\]")
_KEY = re.compile(rf"(\+*){GROUP}\.(.*)", re.DOTALL)


def with_several(words: Sequence[str]) -> list[str]:
    """The words of a command line with every list of benchmarks spelled out.

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
