"""Reads the first sheet of an `.xlsx` file: a zip archive of XML, with the texts of cells in a list of their own."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from sg.core.errors import DataError

_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
MAX_BYTES = 2**29
"""Largest part of the archive that is unpacked: a small archive can hold a huge part."""


def read_xlsx(path: Path) -> list[list[str]]:
    """The rows of the first sheet as texts; numbers as they are written, truth values as `True` and `False`.

    Raises:
        DataError: the file is not a complete `.xlsx` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sheets = sorted(name for name in archive.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name))
            if not sheets:
                raise DataError(f"{path} is a zip archive without a sheet, so it is not an .xlsx file.")
            texts = list(_shared_texts(_part(archive, path, "xl/sharedStrings.xml")))
            sheet = _part(archive, path, min(sheets, key=len))
            return [_cells(row, texts) for row in sheet.iter(f"{_SPACE}row")] if sheet is not None else []
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError, EOFError, ValueError, IndexError, OSError) as error:
        raise DataError(f"{path} is not a complete .xlsx file ({error}).") from error


def _part(archive: zipfile.ZipFile, path: Path, name: str) -> ElementTree.Element | None:
    if name not in archive.namelist():
        return None
    if archive.getinfo(name).file_size > MAX_BYTES:
        raise DataError(f"{path}: its part {name} has more than {MAX_BYTES:,} bytes.")
    return ElementTree.fromstring(archive.read(name))


def _shared_texts(part: ElementTree.Element | None) -> Iterator[str]:
    for item in [] if part is None else part.iter(f"{_SPACE}si"):
        yield _text(item)


def _text(item: ElementTree.Element) -> str:
    """The text of an item, whose formatted parts are joined; phonetic hints are left out."""
    hints = {id(text) for hint in item.iter(f"{_SPACE}rPh") for text in hint.iter(f"{_SPACE}t")}
    text = "".join(part.text or "" for part in item.iter(f"{_SPACE}t") if id(part) not in hints)
    # Characters that XML cannot hold are written as _x000D_.
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda code: chr(int(code[1], 16)), text)


def _cells(row: ElementTree.Element, texts: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_SPACE}c"):
        column = _column(cell.get("r", "")) if cell.get("r") else len(cells)
        cells += [""] * (column - len(cells)) + [_value(cell, texts)]
    return cells


def _column(place: str) -> int:
    number = 0
    for letter in re.match(r"[A-Z]{1,3}", place)[0]:  # type: ignore[index]  # ValueError below for other places
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, texts: list[str]) -> str:
    kind, value = cell.get("t", "n"), cell.find(f"{_SPACE}v")
    if kind == "inlineStr":
        inline = cell.find(f"{_SPACE}is")
        return "" if inline is None else _text(inline)
    text = "" if value is None else value.text or ""
    if kind == "s":
        return texts[int(text)]
    return {"0": "False", "1": "True"}.get(text, text) if kind == "b" else text
