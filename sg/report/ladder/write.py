"""`python -m sg.report ladder STUDY STUDY ...`: compare studies over model size and captions, and write the result."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sg.core.files import write_text
from sg.core.fingerprints import fingerprint
from sg.report.figures.style import save
from sg.report.ladder.figure import NAME, ladder_figure
from sg.report.ladder.numbers import measure_ladder
from sg.report.ladder.page import ladder_csv, ladder_markdown
from sg.report.ladder.studies import read_ladder
from sg.report.numbers.records import save_record


def write_ladder(folders: Sequence[Path]) -> str:
    """Write `ladder-<hash>/` beside the first of the studies in `folders`, and return the text for the terminal.

    Raises:
        ConfigError, MissingInputError, DataError: as `sg.report.ladder.studies.read_ladder`.
    """
    studies = [folder.expanduser().resolve() for folder in folders]
    summary = measure_ladder(read_ladder(studies))
    folder = studies[0].parent / f"{NAME}-{fingerprint(sorted(summary.studies))[:8]}"
    text = ladder_markdown(summary)
    save_record(folder / "ladder.json", summary)
    write_text(folder / "ladder.csv", ladder_csv(summary))
    write_text(folder / "ladder.md", f"{text}\n![{NAME}]({NAME}.png)\n")
    save(partial(ladder_figure, summary), folder, NAME)
    return f"{text}\nLadder: {folder / 'ladder.md'}"
