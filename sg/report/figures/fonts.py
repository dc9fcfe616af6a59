"""Fonts of the text on pictures: DejaVu, and for letters that it lacks the fonts that this machine has."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

NO_FONT = "(no font on this machine has these letters: see the page)"


def text_font(pixels: int, bold: bool = False, text: str = "") -> "FreeTypeFont":
    """Return DejaVu, which matplotlib brings along, or the installed font that has the most letters of `text`.

    DejaVu has Latin, Greek, Cyrillic, Arabic and Hebrew letters. Others, such as Chinese ones, need an installed font.
    """
    from PIL import ImageFont

    return ImageFont.truetype(_best(_needed(text), bold), pixels)


def writable(text: str) -> str:
    """Return `text` with a question mark for each letter that `text_font` has no glyph for; a note if most are such."""
    needed = _needed(text)
    lacking = needed - _letters(_best(needed, False))
    if 2 * len(lacking) > len(needed):
        return NO_FONT
    return "".join("?" if letter in lacking else letter for letter in text)


def _needed(text: str) -> frozenset[str]:
    return frozenset(letter for letter in text if letter.isprintable() and not letter.isspace())


@cache
def _best(needed: frozenset[str], bold: bool) -> str:
    """The file of the font with the most letters of `needed`, DejaVu if no other one has more."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    own = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)
    if needed <= _letters(own):
        return own
    return max([own, *installed_fonts()], key=lambda path: len(needed & _letters(path)))


@cache
def _letters(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # a file that is not a font, or has no outlines
        return frozenset()


def installed_fonts() -> list[str]:
    """Return the font files of this machine."""
    from matplotlib.font_manager import findSystemFonts

    return sorted(findSystemFonts())
