"""Where files are found in a clone and in an installed wheel."""

from pathlib import Path

import pytest

from sg.core import layout
from sg.core.layout import as_typed, located, program

ROOT = Path(__file__).parents[2]


def test_a_relative_path_starts_at_the_clone_whatever_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert layout.IS_CLONE and layout.CONFIG_FOLDER == ROOT / "conf"
    assert located("work") == ROOT / "work"
    assert located("sg/demo/assets") == ROOT / "sg" / "demo" / "assets"
    assert located("/elsewhere") == Path("/elsewhere")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layout of an installed wheel, with an empty current folder; returns the folder of the package."""
    package = tmp_path / "site-packages" / "sg"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name, value in {"IS_CLONE": False, "PACKAGE_FOLDER": package, "_ABOVE": package.parent}.items():
        monkeypatch.setattr(layout, name, value)
    return package


def test_a_wheel_writes_in_the_current_folder_and_finds_its_own_files(wheel: Path) -> None:
    here = Path.cwd()
    assert located("work") == here / "work"
    assert located("sg/demo/assets") == wheel / "demo" / "assets"
    assert located("experiments/scaling_webvid/published.csv") == wheel / "experiments/scaling_webvid/published.csv"
    (here / "experiments").mkdir()
    assert located("experiments") == here / "experiments"


def test_a_wheel_starts_children_and_names_commands_without_the_scripts_of_a_clone(wheel: Path) -> None:
    assert program("train")[1:] == ["-m", "sg", "train"]
    shown = "python train.py -m data.scale=0, python evaluate.py merge=DIR, python -m sg.embed data=demo"
    assert as_typed(shown) == "sg train -m data.scale=0, sg evaluate merge=DIR, python -m sg.embed data=demo"
