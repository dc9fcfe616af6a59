"""The house's one-way rule: imports go down only, and a step never imports a step (`docs/architecture.md`)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = {"caption", "embed", "curate", "train", "evaluate", "report"}
FLOORS = {
    "core": 0,
    "artefacts": 1,
    "video": 2,
    "models": 3,
    "demo": 4,
    "sources": 5,
    "study": 7,
    "doctor": 8,
    "status": 8,
    "hub": 8,
    "export": 8,
} | dict.fromkeys(STEPS, 6)
MODULES = sorted((ROOT / "sg").rglob("*.py"))


def part_of(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "sg" and len(pieces) > 1 else None


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names]


def imported_parts(path: Path) -> Iterator[str]:
    yield from (part for name in imported_modules(path) if (part := part_of(name)) is not None)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_own_part_or_from_floors_below(path: Path) -> None:
    pieces = path.relative_to(ROOT / "sg").parts
    if len(pieces) == 1:
        assert set(imported_parts(path)) <= {"cli", "models"}
        return
    own = pieces[0]
    for part in imported_parts(path):
        assert part == own or FLOORS[part] < FLOORS[own], f"{path.relative_to(ROOT)} (sg.{own}) imports sg.{part}"


def test_steps_know_students_by_their_protocol_only() -> None:
    students = {path.stem for path in (ROOT / "sg/models/students").glob("*.py")} - {"__init__"}
    assert "chat_univi" in students
    known = {f"sg.models.{student}" for student in students} | {"sg.models.students"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in MODULES
        if path.relative_to(ROOT / "sg").parts[0] != "models"
        for name in imported_modules(path)
        if ".".join(name.split(".")[:3]) in known
    }
    assert found == set()


def test_every_part_of_the_house_has_a_floor() -> None:
    parts = {path.name for path in (ROOT / "sg").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert parts == set(FLOORS)
