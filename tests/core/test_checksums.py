import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sg.artefacts.tables import read_table, write_batches
from sg.core.checksums import CHECKSUM_KEY, CHECKSUM_UNSET, check_file, is_intact, with_checksum
from sg.core.errors import DataError
from sg.core.files import read_json, write_json, write_record

SCHEMA = pa.schema([pa.field("video_id", pa.string(), nullable=False), pa.field("x", pa.float64(), nullable=False)])


def table(path: Path) -> Path:
    batch = pa.record_batch([[f"v{row}" for row in range(50)], [float(row) for row in range(50)]], schema=SCHEMA)
    write_batches(path, [batch], SCHEMA, "table", {"made_by": "x" * 500})
    return path


def every_damage(path: Path) -> list[bytes]:
    """The file with each byte changed in one random bit, and with each stretch of 100 zeros."""
    whole, draw = path.read_bytes(), random.Random(0)
    flips = [whole[:at] + bytes([whole[at] ^ (1 << draw.randrange(8))]) + whole[at + 1 :] for at in range(len(whole))]
    zeros = [whole[:at] + bytes(len(whole[at : at + 100])) + whole[at + 100 :] for at in range(0, len(whole), 25)]
    return [damaged for damaged in (*flips, *zeros) if damaged != whole]


def test_no_damage_to_a_record_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, {"text": "ä sentence", "number": 0.1, "nested": {"a": [1, 2]}})
    for damaged in every_damage(path):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"record\.json"):
            read_json(path)


def test_no_damage_to_a_table_is_silent(tmp_path: Path) -> None:
    path = table(tmp_path / "table.parquet")
    for damaged in every_damage(path):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"table\.parquet"):
            read_table(path, SCHEMA, "table")


def test_a_record_is_read_back_without_its_checksum(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert json.loads((tmp_path / "a.json").read_text()).keys() == {"x", CHECKSUM_KEY}


def test_files_of_other_programs_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    pq.write_table(pa.table({"video_id": ["a"], "x": [1.0]}), tmp_path / "a.parquet")
    read_table(tmp_path / "a.parquet", SCHEMA, "table")
    check_file(tmp_path / "a.json")


def test_a_copied_table_is_intact_and_other_programs_read_it(tmp_path: Path) -> None:
    path = table(tmp_path / "table.parquet")
    shutil.copy(path, tmp_path / "copy.parquet")
    check_file(tmp_path / "copy.parquet")
    assert pq.read_table(tmp_path / "copy.parquet").num_rows == 50


def test_equal_content_has_equal_bytes(tmp_path: Path) -> None:
    assert table(tmp_path / "a.parquet").read_bytes() == table(tmp_path / "b.parquet").read_bytes()


def test_a_line_keeps_a_checksum() -> None:
    line = with_checksum(json.dumps({"a": 1, CHECKSUM_KEY: CHECKSUM_UNSET}))
    assert is_intact(line.encode())
    assert not is_intact(line.replace("1", "2", 1).encode())
