"""`evaluate.py` on real video files: decoding, encoding, rows of broken files, shards and merging."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sg.artefacts.predictions import WITH_SUBTITLES, read_predictions
from sg.artefacts.visual_tokens.clips import ClipTensors
from sg.artefacts.visual_tokens.store import VisualTokenStore
from sg.core.errors import DataError, MissingInputError
from sg.core.places.config import PathsConfig
from sg.demo.build import FPS, benchmark_rows, srt, write_demo_video
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world
from sg.evaluate.asking import Asker
from sg.evaluate.benchmark import read_benchmark
from sg.evaluate.benchmarks.video_mme import VideoMmeConfig
from sg.evaluate.config import AnsweringConfig, PromptConfig
from sg.models import clips as model_clips
from sg.models.chat_univi.build import build_inputs, build_model
from sg.models.chat_univi.inputs import noise_seed
from sg.models.chat_univi.settings import ModelConfig
from sg.models.chat_univi.student import ChatUniViStudent
from sg.models.clips import decode_clip
from sg.models.student import StudentProcessor
from sg.study.evaluation import EvaluateConfig, evaluate_checkpoint, merge_folder, run_shards, score_file
from sg.train.config import TrainerConfig
from sg.video.sampling import FramePolicy

MODEL = ModelConfig(
    name="tiny",
    language_model="sg/demo/assets/language_model",
    vision_tower="sg/demo/assets/vision_tower",
    system_prompt="",
    spatial_clusters=[8, 4, 2],
    temporal_cluster_rate=1 / 8,
    visual_token_dtype="float32",
)
PROMPT = PromptConfig(subtitle_header="Subs:", instruction="", last_line="Answer:")
VIDEOS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark of a demo world with six videos, and a checkpoint of the tiny model."""
    folder = tmp_path_factory.mktemp("world")
    benchmark = folder / "demo" / "benchmark"
    for name in ("videos", "subtitle"):
        (benchmark / name).mkdir(parents=True)
    made = make_world(DemoWorldConfig(videos_per_k=1, align_clips=1, instruct_clips=1, benchmark_videos=VIDEOS // 3))
    for item in made.benchmark:
        write_demo_video(benchmark / "videos" / f"{item.video.video_id}.mp4", item.video)
        (benchmark / "subtitle" / f"{item.video.video_id}.srt").write_text(srt(item.cues, FPS))
    pq.write_table(pa.Table.from_pylist(list(benchmark_rows(made.benchmark))), benchmark / "benchmark.parquet")
    build_model(MODEL).save_pretrained(folder / "checkpoint")
    return folder


def settings_of(world: Path, folder: Path, **answering: object) -> EvaluateConfig:
    answers = AnsweringConfig(max_new_tokens=8, batch_size=12, **answering)  # type: ignore[arg-type]
    benchmark = str(world / "demo" / "benchmark")
    return EvaluateConfig(
        checkpoint=str(world / "checkpoint"),
        output=str(folder / "out"),
        model=MODEL,
        benchmark=VideoMmeConfig("demo", benchmark, prompt=PROMPT, answering=answers),
        trainer=TrainerConfig(decode_workers=0),
        paths=PathsConfig(work=str(folder / "work"), runs=str(folder / "runs")),
    )


def test_a_video_is_encoded_once_for_all_questions_and_the_answers_equal_those_of_plain_generation(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    encoded: list[int] = []
    encode = ChatUniViStudent.features

    def counted_decode(key: str, path: Path, processor: StudentProcessor, sampling: FramePolicy | None) -> ClipTensors:
        decoded.append(key)
        return decode_clip(key, path, processor, sampling)

    def counted_encode(self: ChatUniViStudent, clips: list[ClipTensors], level: str) -> list[ClipTensors]:
        encoded.append(len(clips))
        return encode(self, clips, level)

    monkeypatch.setattr(model_clips, "decode_clip", counted_decode)
    monkeypatch.setattr(ChatUniViStudent, "features", counted_encode)
    config = settings_of(world, tmp_path, probes=[])
    scores = evaluate_checkpoint(config)
    assert (sorted(decoded), sum(encoded)) == (sorted(set(decoded)), VIDEOS)
    assert len(decoded) == VIDEOS
    evaluate_checkpoint(replace(config, output=str(tmp_path / "again")))
    assert len(decoded) == VIDEOS  # another evaluation finds the tokens

    rows = read_predictions(tmp_path / "out" / "predictions.jsonl")
    assert len(rows) == VIDEOS * 3 * 2
    benchmark, model, processor = read_benchmark(config.benchmark), build_model(MODEL), build_inputs(MODEL)
    (folder,) = (path for path in (tmp_path / "work" / "visual_tokens").iterdir() if path.is_dir())
    store = VisualTokenStore(folder)
    files = {video.media_id: video.path for video in benchmark.videos}
    stored = {name: store[f"demo/{name}"] for name in files}
    naive = {}
    for ask in Asker(benchmark, config.benchmark, processor, stored, 2048).asks():
        file = files[ask.row.tokens_of]
        assert file is not None
        clip = decode_clip(f"demo/{ask.row.tokens_of}", file, processor)
        tokens = model.encode_video(clip.tensors["pixels"], noise_seed(clip.key, clip.facts))
        new = model.generate(
            torch.tensor([ask.ids]), visual_tokens=tokens, visual_counts=[len(tokens)], max_new_tokens=8
        )
        naive[ask.row.key] = processor.decode(new[0].tolist())
    assert {row.key: row.response for row in rows} == naive
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert written["scores"] == scores
    assert {"checkpoint", "model", "benchmark", "data", "version", "details"} <= set(written)
    assert 0 <= written["details"]["with_subtitles"]["overall_95"]["wilson_low"] <= 100
    official = tmp_path / "out" / "official_with_subtitles.json"
    assert score_file(official, tmp_path / "scored") == {WITH_SUBTITLES: scores[WITH_SUBTITLES]}
    scored = json.loads((tmp_path / "scored" / "scores.json").read_text())["details"][WITH_SUBTITLES]
    assert scored["buckets"] == written["details"][WITH_SUBTITLES]["buckets"]


def test_broken_and_missing_videos_and_subtitles_become_rows_with_a_reason(world: Path, tmp_path: Path) -> None:
    config = settings_of(world, tmp_path, probes=[])
    folder = tmp_path / "benchmark"
    shutil.copytree(config.benchmark.folder, folder)
    config.benchmark.folder = str(folder)
    broken, gone, *_ = sorted((folder / "videos").glob("*.mp4"))
    broken.write_bytes(broken.read_bytes()[:200])
    gone.unlink()
    subtitles = sorted((folder / "subtitle").glob("*.srt"))[-1]
    subtitles.write_bytes(b"\xff\xfe\x00 no text")
    evaluate_checkpoint(config)
    rows = read_predictions(tmp_path / "out" / "predictions.jsonl")
    by_video = {video.media_id: video.video_id for video in read_benchmark(config.benchmark).videos}
    rows_by_video = {row.video_id: (row.status, row.letter) for row in rows}
    assert rows_by_video[by_video[broken.stem]] == ("undecodable", "")
    assert rows_by_video[by_video[gone.stem]] == ("missing_video", "")
    assert all(row.reason for row in rows if row.status != "ok")
    unread = [row for row in rows if row.video_id == by_video[subtitles.stem] and row.setting == WITH_SUBTITLES]
    assert {row.subtitles for row in unread} == {"unreadable"}
    details = json.loads((tmp_path / "out" / "scores.json").read_text())["details"][WITH_SUBTITLES]
    assert details["statuses"] == {"missing_video": 3, "ok": 12, "undecodable": 3}
    assert details["subtitles"]["unreadable"] == 3
    official = json.loads((tmp_path / "out" / "official_with_subtitles.json").read_text())
    assert sum(question["response"] == "" for video in official for question in video["questions"]) >= 6


def test_a_benchmark_whose_videos_are_all_missing_or_unreadable_is_an_error(world: Path, tmp_path: Path) -> None:
    config = settings_of(world, tmp_path, probes=[])
    folder = Path(shutil.copytree(config.benchmark.folder, tmp_path / "benchmark"))
    config.benchmark.folder = str(folder)
    for video in (folder / "videos").iterdir():
        video.write_bytes(b"not a video")
    with pytest.raises(DataError, match=f"None of the {VIDEOS * 6} questions of .* could be asked"):
        evaluate_checkpoint(config)
    (folder / "videos").rename(folder / "elsewhere")
    with pytest.raises(MissingInputError, match=f"None of the {VIDEOS} videos of benchmark 'demo' has a file"):
        evaluate_checkpoint(config)


def test_a_missing_checkpoint_is_named_before_a_missing_benchmark(world: Path, tmp_path: Path) -> None:
    config = settings_of(world, tmp_path)
    config.benchmark.folder = str(tmp_path / "none")
    with pytest.raises(MissingInputError, match=f"There is no model {tmp_path}/typo: set checkpoint"):
        evaluate_checkpoint(replace(config, checkpoint=str(tmp_path / "typo")))


def test_merged_shards_equal_the_file_of_a_single_process(world: Path, tmp_path: Path) -> None:
    config = settings_of(world, tmp_path, probes=[])
    config.benchmark.answering.batch_size = 6
    alone = evaluate_checkpoint(config)
    parts = tmp_path / "parts"
    other = PathsConfig(work=str(tmp_path / "other"), runs=str(tmp_path / "runs"))
    for index in (1, 0):
        part = replace(config, output=str(parts), paths=other, shards=2, shard=index)
        assert evaluate_checkpoint(part) == {}
    assert merge_folder(config, parts) == alone
    for name in ("predictions.jsonl", "official_with_subtitles.json"):
        assert (parts / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_all_shards_of_a_machine_are_started_with_the_arguments_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys\n"
        "(pathlib.Path(__file__).parent / sys.argv[2]).write_text(sys.argv[1])\n"
        "sys.exit(sys.argv[2] == 'shard=2')\n"
    )
    monkeypatch.setattr("sg.study.evaluation.program", lambda command: [sys.executable, str(script)])
    monkeypatch.setattr("sys.argv", ["evaluate.py", "shards=2"])
    run_shards(2, on_gpus=False)
    assert [(tmp_path / f"shard={index}").read_text() for index in range(2)] == ["shards=2"] * 2
    with pytest.raises(DataError, match="Shard 2 of 3 failed"):
        run_shards(3, on_gpus=False)
