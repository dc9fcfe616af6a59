import json
from pathlib import Path

import pytest

from sg.artefacts.predictions import BUCKETS
from sg.core.errors import DataError
from sg.report.numbers.published import published_for, read_published

GOLDEN = Path(__file__).parents[2] / "goldens" / "video_mme" / "seed_tables.json"


def test_the_published_tables_equal_the_recovered_counts() -> None:
    golden = json.loads(GOLDEN.read_text())
    cells = read_published()
    assert len(cells) == 48
    for (setting, scale, bucket), cell in cells.items():
        row = golden[setting][f"{scale // 1000}k"]
        assert (cell.printed, cell.correct, cell.questions) == tuple(
            row[name][bucket] for name in ("printed", "correct", "questions")
        )
        assert cell.printed_delta == row.get("printed_delta", {}).get(bucket)
        assert cell.delta == row.get("delta_from_counts", {}).get(bucket)


def test_every_printed_accuracy_is_its_count_and_overall_is_the_pool_of_the_buckets() -> None:
    cells = read_published()
    for (setting, scale, bucket), cell in cells.items():
        assert round(100 * cell.correct / cell.questions, 1) == cell.printed
        if bucket == "overall":
            assert cell.correct == sum(cells[setting, scale, name].correct for name in BUCKETS[1:])


def test_the_two_misprinted_differences_are_marked() -> None:
    slips = {key for key, cell in read_published().items() if cell.slip}
    assert slips == {("without_subtitles", 530_000, "long"), ("with_subtitles", 50_000, "overall")}


def test_only_video_mme_has_published_numbers() -> None:
    assert published_for("video_mme")
    assert not published_for("demo")


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"table\.csv"):
        read_published(tmp_path / "table.csv")
