"""The gallery of all clusters: files that open from disk; all data is shown as text."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg.artefacts.forest import Forest, read_forest, subtree_sizes, write_forest
from sg.artefacts.manifest import read_manifest, write_manifest
from sg.report.numbers.clusters import ClusterList, StudyInputs, distinctive_words
from sg.report.pages.gallery import WORDS_BUDGET, picture_path, write_gallery
from tests.browser import CUT, Browser, check_look

from ..study_builder import write_corpus


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> StudyInputs:
    paths = {name: Path(path) for name, path in write_corpus(tmp_path_factory.mktemp("corpus")).items()}
    return StudyInputs(paths["manifest"], paths["forest"], paths["videos"], paths["captions"])


@pytest.fixture(scope="module")
def folder(inputs: StudyInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery")
    written = write_gallery(path, inputs, core_size=8, members=3, pictures=4)
    assert (written.clusters, written.pictures) == (8, 4)
    return path


def argument(script: str) -> object:
    """The value that a data file of the gallery passes to the page."""
    found = re.search(r"JSON\.parse\((.*)\)\);", script, flags=re.DOTALL)
    assert found
    return json.loads(json.loads(found[1]))


def test_the_index_lists_every_cluster_the_largest_first(folder: Path, inputs: StudyInputs) -> None:
    index = argument((folder / "clusters.js").read_text())
    assert isinstance(index, dict)
    clusters = read_forest(inputs.forest).clusters(8)
    assert set(index["ids"].split("\n")) == set(clusters)
    assert index["sizes"] == sorted((len(members) for members in clusters.values()), reverse=True)
    assert len(index["pictures"]) == 4


def test_captions_are_in_separate_files(folder: Path) -> None:
    members = argument((folder / "members" / "000.js").read_text())
    assert isinstance(members, list) and len(members) == 8
    video, note, caption = members[0][0]
    assert note == "stays in the core" and "<script>" in caption and video in caption


def test_no_data_file_can_end_a_script(folder: Path) -> None:
    texts = [path.read_text() for path in folder.rglob("*.js") if path.name != "gallery.js"]
    assert texts and not any("<" in text for text in texts)


def test_an_unreadable_video_does_not_prevent_the_picture_of_its_cluster(inputs: StudyInputs, tmp_path: Path) -> None:
    everything = write_gallery(tmp_path, inputs, core_size=8, members=24, pictures=None)
    assert everything.pictures == 8
    drawn = sorted((tmp_path / "pictures").rglob("*.jpg"))
    assert len(drawn) == 24, "a picture of every video, also of the missing and the damaged one"
    assert Image.open(picture_path(tmp_path, 0)).size == (3 * 64, 3 * 48)


def test_existing_pictures_are_kept_until_the_clusters_change(inputs: StudyInputs, tmp_path: Path) -> None:
    write_gallery(tmp_path, inputs, core_size=8, members=2, pictures=2)
    drawn = sorted((tmp_path / "pictures").rglob("*.jpg"))
    drawn[0].write_bytes(b"kept")
    write_gallery(tmp_path, inputs, core_size=8, members=2, pictures=4)
    assert drawn[0].read_bytes() == b"kept"
    write_gallery(tmp_path, inputs, core_size=6, members=2, pictures=1)
    assert len(list((tmp_path / "pictures").rglob("*.jpg"))) == 2


def test_pictures_are_drawn_again_when_the_manifest_or_the_version_changes(
    inputs: StudyInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def redrawn() -> bool:
        picture = picture_path(tmp_path, 0)
        picture.write_bytes(b"old")
        write_gallery(tmp_path, changed, core_size=8, members=2, pictures=1)
        return picture.read_bytes() != b"old"

    changed = replace(inputs, manifest=tmp_path / "manifest.parquet")
    records = list(read_manifest(inputs.manifest).records())
    write_manifest(changed.manifest, records)
    write_gallery(tmp_path, changed, core_size=8, members=2, pictures=1)
    assert not redrawn()
    write_manifest(changed.manifest, [replace(record, duration_s=9.0) for record in records])
    assert redrawn()
    monkeypatch.setattr("sg.report.pages.gallery.GALLERY_VERSION", 99)
    assert redrawn()


def test_distinctive_words_of_a_cluster_come_first() -> None:
    parent = np.array([2, 3, -1, -1])
    similarity = np.array([0.9, 0.8, np.nan, np.nan], dtype=np.float32)
    forest = Forest(list("abcd"), parent, similarity, np.array([0, 0, -2, -2]), subtree_sizes(parent), similarity)
    rows = ClusterList(forest, 2).rows
    captions = {"a": "a red boat", "c": "the red boat", "b": "a dog runs", "d": "the dog sits"}
    words = dict(zip((row.survivor for row in rows), distinctive_words(rows, captions, 10), strict=True))
    assert words["c"].split()[:2] == ["boat", "red"]
    assert words["d"].split()[0] == "dog" and len(words["d"]) <= 10


def test_a_gallery_of_many_clusters_stays_small(tmp_path: Path) -> None:
    from sg.artefacts.captions import CaptionRecord, write_captions

    count = 12_000
    ids = [f"webvid-{number:08d}" for number in range(count)]
    none = np.full(count, np.nan, dtype=np.float32)
    parent = np.full(count, -1)
    write_forest(
        tmp_path / "forest.parquet", Forest(ids, parent, none, np.full(count, -2), subtree_sizes(parent), none)
    )
    words = [f"word{number}" for number in range(500)]
    texts = (" ".join(words[(number * 7 + step) % 500] for step in range(100)) for number in range(count))
    write_captions(tmp_path / "captions.parquet", (CaptionRecord(*pair) for pair in zip(ids, texts, strict=True)))
    inputs = StudyInputs(tmp_path / "none", tmp_path / "forest.parquet", tmp_path, tmp_path / "captions.parquet")
    write_gallery(tmp_path / "gallery", inputs, core_size=count, pictures=0)
    loaded = sum((tmp_path / "gallery" / name).stat().st_size for name in ("index.html", "gallery.js", "clusters.js"))
    assert loaded < WORDS_BUDGET + 40 * count < 5_000_000


@pytest.mark.slow
def test_the_gallery_opens_from_disk_and_shows_hostile_captions_as_text(folder: Path, browser: Browser) -> None:
    tab = browser.open(folder / "index.html")
    shown = tab.run("document.documentElement.outerHTML")
    assert "8 of 8 clusters" in shown
    assert "&lt;script&gt;alert(" in shown
    assert not re.search(r"<script>alert\(", shown)
    assert 'src="pictures/000/' in shown
    assert tab.messages == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_the_gallery_can_be_read_on_every_screen(folder: Path, browser: Browser, width: int) -> None:
    check_look(browser, folder / "index.html", width)
    tab = browser.open(folder / "index.html", width)
    texts = "document.querySelectorAll('.text button, .caption, .words')"
    tab.run(f"{texts}.forEach((one) => {{ one.textContent = 'many words '.repeat(40); }})")
    cut = "[...document.querySelectorAll('.text')].filter((one) => one.scrollHeight > one.clientHeight + 1).length"
    assert tab.run(cut) == 0, "a row has room for its id, numbers, and two lines each of caption and words"


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_every_member_of_a_cluster_is_shown_with_its_text_and_is_enlarged_by_a_click(
    folder: Path, browser: Browser, width: int
) -> None:
    tab = browser.open(folder / "index.html", width)
    tab.run("document.querySelector('.strip button').click()")
    tab.run("new Promise((done) => setTimeout(done, 500))")
    texts = tab.run("[...document.querySelectorAll('dialog li')].map((one) => one.textContent)")
    alts = tab.run("[...document.querySelectorAll('dialog li img')].map((one) => one.alt)")
    assert len(texts) == len(alts) == 3 and all(
        alt.removeprefix("frames of ") in text for alt, text in zip(alts, texts, strict=True)
    )
    assert tab.run(CUT) == []
    tab.run("document.querySelector('dialog .zoom img').click()")
    assert tab.run("document.querySelector('dialog .zoom img').getBoundingClientRect().width") == width


@pytest.mark.slow
def test_ids_are_shown_and_found_as_people_wrote_them(tmp_path: Path, browser: Browser) -> None:
    parent = np.array([2, 3, -1, -1])
    similarity = np.array([0.9, 0.8, np.nan, np.nan], dtype=np.float32)
    ids = ["a", "b", "my%20clip%C3%A9", "100%"]
    rounds, size = np.array([0, 0, -2, -2]), subtree_sizes(parent)
    write_forest(tmp_path / "forest.parquet", Forest(ids, parent, similarity, rounds, size, similarity))
    write_gallery(tmp_path, StudyInputs(tmp_path / "none", tmp_path / "forest.parquet", tmp_path), 2, pictures=0)
    tab = browser.open(tmp_path / "index.html")
    shown = "[...document.querySelectorAll('.text button')].map((one) => one.textContent).sort()"
    assert tab.run(shown) == ["100%", "my clip\u00e9"]
    tab.run("document.querySelector('#search').value = 'my clip'")
    tab.run("document.querySelector('#search').dispatchEvent(new Event('input', {bubbles: true}))")
    assert tab.run(shown) == ["my clip\u00e9"]
