"""A moved folder is the same data: its manifest stays, and no file is opened again."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sg.artefacts.manifest import hash_manifest, read_manifest, video_path
from sg.core.errors import ConfigError, MissingInputError
from sg.sources.config import DataConfig
from sg.sources.files import probing
from sg.sources.manifests import make_manifest, scan
from sg.sources.sets.folder import FolderDataConfig
from sg.sources.sets.mix import MixDataConfig, MixPart
from sg.sources.sets.webvid import WebVidDataConfig

WriteFile = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("no_processes")


@pytest.fixture
def home(tmp_path: Path, write_file: WriteFile) -> Path:
    """A folder with two video files, captions and annotations of them."""
    for number in (1, 2):
        write_file(tmp_path / "here" / "work" / "set" / "videos" / f"{number}.mp4")
    with (tmp_path / "here" / "texts.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("videoid", "name"), ("1", "a cat"), ("2", "a dog")])
    return tmp_path / "here"


def folder(home: Path) -> FolderDataConfig:
    return FolderDataConfig(captions=str(home / "texts.csv"), **places(home), workers=1)


def webvid(home: Path) -> WebVidDataConfig:
    return WebVidDataConfig(annotations=str(home / "texts.csv"), **places(home), workers=1)


def places(home: Path) -> dict[str, Any]:
    return {"name": "set", "dir": str(home / "work" / "set"), "videos": str(home / "work" / "set" / "videos")}


@pytest.mark.parametrize("config", [folder, webvid])
def test_a_moved_folder_is_not_scanned_again(
    home: Path, config: Callable[[Path], DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scan(config(home))
    before, work = hash_manifest(path), read_manifest(path).info["made_by"]
    monkeypatch.setattr(probing, "_probe_file", lambda root, name: pytest.fail(f"{name} is opened again"))

    moved = home.rename(home.parent / "there")
    path = scan(config(moved))

    assert path == moved / "work" / "set" / "manifest.parquet"
    assert hash_manifest(path) == before and read_manifest(path).info["made_by"] == work


def test_a_scan_of_moved_files_with_a_folder_of_its_own_gives_the_same_manifest(home: Path) -> None:
    first = scan(webvid(home))
    before = hash_manifest(first)
    moved = shutil.copytree(home, home.parent / "there")
    (moved / "work" / "set" / "manifest.parquet").unlink()

    second = scan(webvid(Path(moved)))

    assert hash_manifest(second) == before
    assert read_manifest(second).info["made_by"] == read_manifest(first).info["made_by"]


def test_a_moved_mix_finds_the_files_of_its_moved_sources(home: Path) -> None:
    def mix(home: Path) -> MixDataConfig:
        part = MixPart(dir=str(home / "work" / "set"))
        return MixDataConfig(
            name="mix", dir=str(home / "work" / "mix"), videos=str(home / "work"), sources={"set": part}
        )

    scan(webvid(home))
    before = hash_manifest(make_manifest(mix(home)))

    moved = home.rename(home.parent / "there")
    path = make_manifest(mix(moved))

    assert hash_manifest(path) == before
    assert all(video_path(moved / "work", row).is_file() for row in read_manifest(path).records())


def test_a_changed_json_beside_a_file_is_read_again(home: Path) -> None:
    config = webvid(home)
    config.annotations = None
    for number in (1, 2):
        beside = home / "work" / "set" / "videos" / f"{number}.json"
        beside.write_text(f'{{"videoid": "{number}", "name": "a cat"}}', encoding="utf-8")
    scan(config)
    beside.write_text('{"videoid": "2", "name": "a bear"}', encoding="utf-8")

    rows = read_manifest(scan(config)).records()

    assert [row.original_caption for row in rows] == ["a cat", "a bear"]


def test_another_caption_file_under_the_same_name_is_scanned_again(home: Path) -> None:
    before = read_manifest(scan(folder(home))).info["made_by"]
    text = (home / "texts.csv").read_text(encoding="utf-8").replace("cat", "cow")
    (home / "texts.csv").write_text(text, encoding="utf-8")

    manifest = read_manifest(scan(folder(home)))

    assert manifest.info["made_by"] != before
    assert {row.original_caption for row in manifest.records()} == {"a cow", "a dog"}


def test_another_folder_or_caption_file_under_the_same_name_is_refused(home: Path, write_file: WriteFile) -> None:
    path = scan(folder(home))
    before = path.read_bytes()
    write_file(home / "other" / "1.mp4", frames=6)
    (home / "other.csv").write_text("videoid,name\n1,a bear\n", encoding="utf-8")
    for key, place in (("videos", home / "other"), ("captions", home / "other.csv")):
        config = replace(folder(home), **{key: str(place)})
        with pytest.raises(ConfigError, match=rf"data\.{key}=.*{place}: .*data\.name=NAME.*delete") as stop:
            scan(config)
        assert "\n" not in str(stop.value)
        with pytest.raises(ConfigError, match=r"data\.name=NAME"):
            config.check_place()
        assert path.read_bytes() == before
    with pytest.raises(ConfigError, match=r"data\.videos="):
        scan(replace(webvid(home), videos=str(home / "other")))


def test_data_that_was_moved_and_has_grown_or_was_corrected_is_the_same(home: Path, write_file: WriteFile) -> None:
    scan(folder(home))
    write_file(home / "work" / "set" / "videos" / "3.mp4")
    assert len(read_manifest(scan(folder(home)))) == 3
    moved = home.rename(home.parent / "there")
    scan(folder(moved))
    (moved / "texts.csv").write_text("videoid,name\n1,a bear\n", encoding="utf-8")
    manifest = read_manifest(scan(folder(moved)))
    assert {row.original_caption for row in manifest.records()} == {"a bear", ""}


def test_a_command_without_captions_takes_those_of_the_last_scan(home: Path) -> None:
    config = folder(home)
    without = replace(config, captions=None)
    assert {row.original_caption for row in read_manifest(scan(without)).records()} == {""}
    before = hash_manifest(scan(config))
    assert hash_manifest(scan(without)) == before
    assert {row.original_caption for row in read_manifest(scan(without)).records()} == {"a cat", "a dog"}
    (home / "texts.csv").unlink()
    with pytest.raises(MissingInputError, match=r"no caption file .*texts\.csv.*data\.captions=FILE"):
        scan(without)
    with pytest.raises(MissingInputError, match=r"data\.captions=FILE"):
        without.manifest_identity()
