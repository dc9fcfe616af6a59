"""The console command `sg`: `sg train` is `python train.py`, and `sg caption` is `python -m sg.caption`.

Nothing heavy is imported before the subcommand is known, so that `sg --help` and tab completion are quick.
"""

import importlib
import os
import sys
from difflib import get_close_matches

import sg

COMMANDS = {
    "train": ("sg.study.main", "train and evaluate a model at one caption scale, or run a whole scaling study"),
    "evaluate": ("sg.study.evaluation", "ask a model the questions of a benchmark, or score a file of answers"),
    "caption": ("sg.caption.__main__", "caption the videos of a source; status, audit, export, import, merge, forget"),
    "embed": ("sg.embed.__main__", "compute a vector for every video of a source"),
    "curate": ("sg.curate.__main__", "order the videos of a source, so that a subset of any size is ready"),
    "sources": ("sg.sources.__main__", "scan a source and write its manifest"),
    "report": ("sg.report.__main__", "report on a study; compare, published, dashboard, cards, gallery"),
    "export": ("sg.export.__main__", "write a checkpoint or answers in the form of other programs"),
    "push": ("sg.hub.push", "upload captions, vectors, forests, checkpoints or a study to a hub"),
    "pull": ("sg.hub.pull", "download what push uploaded, and check its fingerprints"),
    "status": ("sg.status.__main__", "what the commands of a work folder are doing: rate, time left, money, failures"),
    "doctor": ("sg.doctor.__main__", "examine this machine and what a study with the given settings lacks"),
}
USAGE = 2
"""Exit code of a mistake in the command line (`sg/core/errors.py` has the whole table)."""


def main() -> None:
    """Run the subcommand that the first word of the command line names."""
    words = sys.argv[1:]
    if words[:1] == ["-sc"] and "COMP_LINE" in os.environ:
        _complete()
    elif words[:1] == ["-sc"]:
        # Hydra prints the shell's rule for the program `sg`, whatever the subcommand.
        _run("train", words)
    elif not words or words[0] in ("--help", "-h", "help"):
        print(help_text(), end="")
    elif words[0] in ("--version", "-V"):
        print(f"sg {sg.__version__}")
    elif words[0] in COMMANDS:
        _run(words[0], words[1:])
    else:
        close = get_close_matches(words[0], COMMANDS, n=1)
        names, hint = ", ".join(COMMANDS), f" (did you mean {close[0]}?)" if close else ""
        print(f"error: sg has no command {words[0]!r}{hint}: choose one of {names}.", file=sys.stderr)
        sys.exit(USAGE)


def help_text() -> str:
    """The list of subcommands."""
    lines = [f"  {name:<9} {text}" for name, (_, text) in COMMANDS.items()]
    return (
        "Does more synthetic caption data help a video language model, and how much of it does it need?\n\n"
        "  sg COMMAND [KEY=VALUE ...]\n\n" + "\n".join(lines) + "\n\n"
        "sg COMMAND --help lists the settings of a command; sg --version prints the version.\n"
        'eval "$(sg -sc install=bash)" turns on tab completion in this shell.\n'
    )


def _run(name: str, arguments: list[str]) -> None:
    """Run a subcommand in this process."""
    sys.argv = [sys.argv[0], *arguments]
    importlib.import_module(COMMANDS[name][0]).main()


def _complete() -> None:
    """Print the words that can follow the line in `COMP_LINE`: subcommands, or what Hydra offers for one."""
    line = os.environ["COMP_LINE"]
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        print(" ".join(COMMANDS))
    elif words[1] in COMMANDS:
        # Hydra removes the program's name, but knows nothing of subcommands.
        _, _, rest = line.lstrip().partition(words[1])
        os.environ["COMP_LINE"] = f"{words[0]} {rest.lstrip()}"
        _run(words[1], sys.argv[1:])
