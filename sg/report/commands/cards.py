"""`python -m sg.report cards study=runs/demo_scaling-<hash>`: the data card and the model card of a study."""

import logging
from dataclasses import dataclass
from pathlib import Path

from sg.core.commands import command, register

log = logging.getLogger(__name__)


@dataclass
class CardsConfig:
    """Settings of the data card and the model card of one study.

    Attributes:
        study: the folder that holds the study's runs.
        run: the run that the model card describes; null for the first seed of the largest scale.
        output: folder to write the cards to; null for `report/cards` in the study's folder.
    """

    study: str = "???"
    run: str | None = None
    output: str | None = None


register(None, "cards_schema", CardsConfig)


def cards(config: CardsConfig) -> None:
    """Write both cards."""
    from sg.report.cards.fill import write_cards
    from sg.report.numbers.load import REPORT_FOLDER
    from sg.report.numbers.study import read_study

    folder = Path(config.study).expanduser().resolve()
    output = folder / REPORT_FOLDER / "cards" if config.output is None else Path(config.output)
    for path in write_cards(read_study(folder), output, config.run):
        log.info("wrote %s: complete the lines marked ✎", path)


main = command("cards", CardsConfig, sweeps=False)(cards)
