"""Extracts the letter from a response, exactly as the official scorers of Video-MME and Video-MME-v2 do.

See `docs/reference/video_mme.md`, section 4, and `docs/reference/benchmarks.md`, section 1.

The rules are deliberately crude, so that scores stay comparable. Known quirks (`Best answer: D` is read as B) are kept,
because all published scores have them.
"""

from string import ascii_uppercase

LETTERS = ascii_uppercase
OFFICIAL_LETTERS = LETTERS[:4]
"""Video-MME's questions have four options; those of other benchmarks may have more or fewer."""
UNANSWERED = ""

# The order matters: "The answer" must not remove the beginning of "The answer is" first. Entries five and six are two
# phrases each, joined by missing commas in the scorer of 2024-06-23, so they never match.
_LITERALS_2024_06_18 = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
_LITERALS_OFFICIAL = (*_LITERALS_2024_06_18, "Answer:", "Option:", "The correct answer", "The correct option")
_LITERALS_V2 = (
    *("Final Answer:", "The best answer is", "The correct answer is", "The answer is", "The answer"),
    *("The best option is", "The correct option is", "Best answer:", "Best option:", "Answer:", "Option:"),
)

MISSING_CELLS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Cells of a table that pandas reads as missing. Scorers that read answers from a table count them as unanswered."""


def _first_letter_after(literals: tuple[str, ...], response: str, letters: str) -> str:
    text = response.strip()
    for literal in literals:
        text = text.replace(literal, "")
    return next((character for character in text if character in letters), UNANSWERED)


def read_letter(response: str, letters: str = OFFICIAL_LETTERS) -> str:
    """The letter that the official scorer of 2024-06-23 reads from `response`, one of `letters`; "" for unanswered."""
    return _first_letter_after(_LITERALS_OFFICIAL, response, letters)


def read_letter_2024_06_18(response: str, letters: str = OFFICIAL_LETTERS) -> str:
    """The letter by the scorer of 2024-06-18, which numbers published before 2024-06-23 used."""
    return _first_letter_after(_LITERALS_2024_06_18, response, letters)


def read_letter_v2(response: str, letters: str = LETTERS[:8]) -> str:
    """The letter that the scorer of Video-MME-v2 reads."""
    return _first_letter_after(_LITERALS_V2, response, letters)
