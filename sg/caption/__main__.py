"""Caption the videos of a source: `python -m sg.caption data=demo`, or judge the captions: `… audit`."""

import sys

from sg.caption.config import ACTIONS, CaptionConfig
from sg.core.commands import command, one_sentence_errors
from sg.core.mistakes import first_action
from sg.models.student import STUDENTS
from sg.sources.config import OF_TRAINING
from sg.sources.registry import SOURCES

SOURCES.load()
STUDENTS.load()


@command("caption", CaptionConfig, unused=OF_TRAINING)
def _caption(config: CaptionConfig) -> None:
    """Caption every usable video of the data, or judge, export, import or merge its captions."""
    from sg.caption.actions import act

    act(config)


def main() -> None:
    """Run the command line; its first word may be an action."""
    with one_sentence_errors():
        action = first_action(sys.argv[1:], ACTIONS)
    if action is not None:
        sys.argv[1] = f"action={action}"
    _caption()


if __name__ == "__main__":
    main()
