from pathlib import Path

import pytest

from sg.core.errors import ConfigError, DataError, MissingInputError
from sg.evaluate.answering import evaluate
from sg.evaluate.shards import EvaluationShard, merge_shards, shard_files
from tests.evaluate.evaluation_builder import World, world
from tests.evaluate.test_answering import ask_all


def run_shard(made: World, path: Path, index: int, count: int) -> Path:
    tokens = dict(made.tokens)
    del tokens["yt001"]
    failures = {"yt001": "broken"}
    shard = EvaluationShard(index, count)
    return evaluate(made.student, made.processor, made.benchmark, tokens, made.config, path, "m1", failures, shard)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_merged_file_of_shards_equals_that_of_a_single_process(count: int, tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=7, batch_size=24)
    alone, path = tmp_path / "alone" / "predictions.jsonl", tmp_path / "parts" / "predictions.jsonl"
    run_shard(made, alone, 0, 1)
    for index in reversed(range(count)):
        run_shard(made, path, index, count)
    merge_shards(path)
    assert path.read_bytes() == alone.read_bytes()
    merge_shards(path)
    assert path.read_bytes() == alone.read_bytes()


def test_the_same_call_resumes_an_interrupted_shard(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", batch_size=12)
    path = tmp_path / "predictions.jsonl"
    file = run_shard(made, path, 1, 2)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert run_shard(made, path, 1, 2) == file
    assert file.read_bytes() == whole


def test_a_merge_names_the_missing_shard(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3)
    path = tmp_path / "predictions.jsonl"
    with pytest.raises(MissingInputError, match="no answers of shards"):
        merge_shards(path)
    run_shard(made, path, 1, 3)
    with pytest.raises(DataError, match="shard 0, 2 has not run"):
        merge_shards(path)


def test_shards_of_different_models_are_not_merged(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", videos=3, batch_size=12)
    path = tmp_path / "predictions.jsonl"
    for index, made_by in enumerate(("m1", "m2")):
        evaluate(
            made.student,
            made.processor,
            made.benchmark,
            made.tokens,
            made.config,
            path,
            made_by,
            {},
            EvaluationShard(index, 2),
        )
    assert list(shard_files(path)) == [EvaluationShard(0, 2), EvaluationShard(1, 2)]
    with pytest.raises(DataError, match="different models"):
        merge_shards(path)


def test_a_shard_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="shard=2 of shards=2 does not exist"):
        EvaluationShard(2, 2)


def test_rows_record_their_batch(tmp_path: Path) -> None:
    made = world(tmp_path / "benchmark", batch_size=24)
    rows = ask_all(made, tmp_path / "predictions.jsonl")
    assert [row.batch for row in rows] == sorted(row.batch for row in rows)
    assert {row.batch for row in rows} == {0, 1, 2}
