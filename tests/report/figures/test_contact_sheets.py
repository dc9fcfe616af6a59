import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg.artefacts.forest import read_forest
from sg.core.errors import ConfigError, MissingInputError
from sg.report.figures import fonts
from sg.report.figures.contact_sheets import (
    ContactSheets,
    SheetCluster,
    SheetMember,
    build_contact_sheets,
    write_sheets,
)
from sg.report.numbers.clusters import StudyInputs

from ..study_builder import write_corpus


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> StudyInputs:
    names = write_corpus(tmp_path_factory.mktemp("corpus"))
    paths = {name: Path(path) for name, path in names.items()}
    return StudyInputs(paths["manifest"], paths["forest"], paths["videos"], paths["captions"])


@pytest.fixture(scope="module")
def gallery(inputs: StudyInputs) -> ContactSheets:
    return build_contact_sheets(inputs, core_size=8, per_kind=2, num_members=4)


def test_the_largest_the_least_similar_and_random_clusters_are_shown_once_each(
    gallery: ContactSheets, inputs: StudyInputs
) -> None:
    sizes = {name: len(members) for name, members in read_forest(inputs.forest).clusters(8).items()}
    assert [cluster.kind for cluster in gallery.clusters] == ["Largest"] * 2 + ["Least similar"] * 2 + ["Random"] * 2
    assert gallery.clusters[0].size == max(sizes.values())
    assert len({cluster.survivor for cluster in gallery.clusters}) == 6
    assert "6 of the 8 clusters" in gallery.note


def test_a_cluster_shows_its_survivor_then_the_most_and_the_least_similar(gallery: ContactSheets) -> None:
    cluster = gallery.clusters[0]
    assert cluster.members[0].video_id == cluster.survivor
    assert cluster.members[0].note == "stays in the core"
    assert len(cluster.members) == 4
    assert cluster.similarity is not None and f"{cluster.similarity:.2f}" in cluster.members[-1].note


def test_a_member_is_a_grid_of_nine_frames(gallery: ContactSheets) -> None:
    member = gallery.clusters[0].members[0]
    assert member.jpeg is not None
    assert Image.open(io.BytesIO(member.jpeg)).size == (3 * 64, 3 * 48)
    assert member.picture.startswith("data:image/jpeg;base64,")


def test_missing_and_damaged_videos_become_tiles_with_a_reason(inputs: StudyInputs) -> None:
    everything = build_contact_sheets(inputs, core_size=8, per_kind=8, num_members=24)
    tiles = {
        member.video_id: member.reason
        for cluster in everything.clusters
        for member in cluster.members
        if not member.jpeg
    }
    assert set(tiles) == {"clip00", "clip01"}
    assert all(tiles.values())


def test_sheets_are_pngs_with_the_members_side_by_side(tmp_path: Path, gallery: ContactSheets) -> None:
    sheets = write_sheets(gallery, tmp_path)
    assert [path.name for path in sheets[:2]] == ["core-8-01.png", "core-8-02.png"]
    assert Image.open(sheets[0]).width > 4 * 3 * 64
    assert sheets[0].stat().st_size < 1_000_000


def test_the_same_inputs_give_the_same_contact_sheets(gallery: ContactSheets, inputs: StudyInputs) -> None:
    assert build_contact_sheets(inputs, core_size=8, per_kind=2, num_members=4) == gallery


def test_captions_may_be_missing(inputs: StudyInputs) -> None:
    bare = build_contact_sheets(StudyInputs(inputs.manifest, inputs.forest, inputs.videos), core_size=8, per_kind=1)
    assert {member.caption for cluster in bare.clusters for member in cluster.members} == {""}


def test_a_core_larger_than_the_forest_and_a_missing_forest_are_refused(inputs: StudyInputs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="25"):
        build_contact_sheets(inputs, core_size=25)
    with pytest.raises(MissingInputError):
        build_contact_sheets(StudyInputs(inputs.manifest, tmp_path / "forest.parquet", inputs.videos), core_size=8)


def test_a_video_that_left_the_manifest_is_a_tile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sg.artefacts.manifest import read_manifest, write_manifest

    paths = {name: Path(path) for name, path in write_corpus(tmp_path, videos=12).items()}
    records = [record for record in read_manifest(paths["manifest"]).records() if record.video_id != "clip11"]
    write_manifest(paths["manifest"], records)
    with caplog.at_level(logging.ERROR):
        found = build_contact_sheets(StudyInputs(paths["manifest"], paths["forest"], paths["videos"]), 4, per_kind=4)
    reasons = {member.video_id: member.reason for cluster in found.clusters for member in cluster.members}
    assert reasons["clip11"] == "not in the manifest"


def test_a_sheet_has_its_title_ids_and_captions_below_the_pictures(tmp_path: Path) -> None:
    def sheet(video_id: str, caption: str, title: str = "Largest") -> np.ndarray:
        member = SheetMember(video_id, caption, "similarity 0.90", None, "missing video")
        cluster = SheetCluster(title, video_id, 2, 0.9, [member, member])
        (path,) = write_sheets(ContactSheets(8, 24, [cluster]), tmp_path)
        return np.asarray(Image.open(path).convert("L"), dtype=int)

    plain, other = sheet("clip-a", "one line"), sheet("clip-b", "one line")
    changed = np.argwhere(plain != other)
    assert len(changed), "the id is on the sheet"
    assert changed[:, 0].min() > plain.shape[0] / 2, "and it stands below the picture"
    assert (plain[:40] < 100).any(), "the title stands above it"
    assert (sheet("clip-a", "one line", "Random")[:40] != plain[:40]).any()
    assert (sheet("clip%2Da", "one line") == plain).all(), "an id is shown as people wrote it"
    long = sheet("clip-a", "many words " * 200)
    assert plain.shape[0] < long.shape[0] < 800, "a long caption is cut"


@pytest.fixture
def chinese_font(tmp_path: Path) -> Iterator[Path]:
    """A font with four Chinese letters, all of them full squares."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    names = {ord(letter): f"u{number}" for number, letter in enumerate("猫在睡觉")}
    pen = TTGlyphPen(None)
    for move, point in zip((pen.moveTo, pen.lineTo, pen.lineTo), ((0, 0), (0, 900), (900, 0)), strict=True):
        move(point)
    pen.closePath()
    glyphs = dict.fromkeys((".notdef", *names.values()), pen.glyph())
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(names)
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "chinese.ttf")
    yield tmp_path / "chinese.ttf"
    fonts._best.cache_clear()


def test_letters_that_the_usual_font_lacks_are_written_with_another_font_or_replaced_by_a_note(
    chinese_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "installed_fonts", list)
    fonts._best.cache_clear()
    assert fonts.writable("猫在睡觉。") == fonts.NO_FONT
    assert fonts.writable("Ein Bär, кот, γάτα") == "Ein Bär, кот, γάτα"
    assert fonts.writable("a cat 🐈 sleeps") == "a cat ? sleeps"

    monkeypatch.setattr(fonts, "installed_fonts", lambda: [str(chinese_font.with_name("no.ttf")), str(chinese_font)])
    fonts._best.cache_clear()
    assert fonts.writable("猫在睡觉") == "猫在睡觉"
    assert Path(str(fonts.text_font(14, text="猫在睡觉").path)) == chinese_font
    assert Path(str(fonts.text_font(14, text="a cat").path)).name == "DejaVuSans.ttf"


def test_wide_letters_stay_below_their_picture(
    tmp_path: Path, chinese_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "installed_fonts", lambda: [str(chinese_font)])
    fonts._best.cache_clear()
    member = SheetMember("clip", "猫在睡觉" * 100, "", None, "missing video")
    (path,) = write_sheets(ContactSheets(8, 24, [SheetCluster("Largest", "clip", 1, None, [member])]), tmp_path)
    sheet = np.asarray(Image.open(path).convert("L"), dtype=int)
    below = np.argwhere(sheet[550:] < 200)
    assert len(below) > 1000 and below[:, 1].max() < sheet.shape[1] - 16
