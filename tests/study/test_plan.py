"""The plan of a study: steps, operations, GPU-hours, memory and disk, each compared with a count by hand."""

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.forest import write_forest
from sg.artefacts.manifest import VideoRecord, write_manifest
from sg.caption.captioners import captioner_of
from sg.core.files import write_record
from sg.core.identity import identity, made_by
from sg.evaluate.benchmarks.video_mme_v2 import VideoMmeV2Config
from sg.models.chat_univi.sizes import missing_weights, model_size
from sg.models.sizes import ModelSize
from sg.report.pages.power import power_text
from sg.study.config import TrainConfig
from sg.study.inputs import missing_inputs
from sg.study.planning.captions import caption_lines, caption_prices
from sg.study.planning.estimate import (
    estimate_cache,
    estimate_stage,
    expected_samples,
    gpu_hours,
    stage_media,
)
from sg.study.planning.plan import plan_run, planned_work, print_plan
from sg.study.planning.power import plan_power
from tests.artefacts.builders import plain_forest
from tests.repository.test_configs import composed
from tests.study.commands import run


@cache
def study() -> TrainConfig:
    return composed("experiment=scaling_webvid", "paths.work=nowhere/work", "paths.runs=nowhere/runs")


def at_scale(scale: str) -> TrainConfig:
    return replace(study(), data=replace(study().data, scale=scale))


def on_machine(**settings: Any) -> TrainConfig:
    return replace(study(), trainer=replace(study().trainer, **settings))


def with_adapters(config: TrainConfig) -> TrainConfig:
    recipe = copy.deepcopy(config.stage)
    recipe.caption.peft = recipe.instruct.peft = "lora"
    return replace(config, stage=recipe)


def size_of(config: TrainConfig) -> ModelSize:
    size = model_size(config.model)
    assert size is not None
    return size


def test_steps_of_the_published_study() -> None:
    steps = {}
    for scale in ("0", "50k", "100k", "200k", "400k", "530k"):
        planned = plan_run(at_scale(scale), scale)
        steps[scale] = {stage.stage.name: stage.steps for stage in planned}
    assert [steps[scale].get("caption") for scale in steps] == [None, 391, 782, 1563, 3125, 4141]
    assert {(row["align"], row["instruct"]) for row in steps.values()} == {(14_493, 14_297)}  # 1,855,000; 2 x 915,000


def test_studies_of_other_data_share_only_stages_that_no_caption_influences() -> None:
    def names(scale: str, folder: str) -> list[str]:
        config = at_scale(scale)
        return [
            stage.name for stage in plan_run(replace(config, data=replace(config.data, dir=folder)), f"{scale}-seed0")
        ]

    assert names("0", "one") == names("0", "other")
    assert [one == other for one, other in zip(names("50k", "one"), names("50k", "other"), strict=True)] == [
        True, False, False,
    ]  # fmt: skip


def test_a_sweep_over_models_plans_each_with_its_own_size_and_shares_only_the_visual_tokens() -> None:
    large = composed(
        "experiment=scaling_webvid", "model=chat_univi_13b", "paths.work=nowhere/work", "paths.runs=nowhere/runs"
    )
    arms = [replace(one, data=replace(one.data, scale=scale)) for one in (study(), large) for scale in ("0", "50k")]
    rows, costs = planned_work(arms)
    alone = [planned_work(arms[start : start + 2]) for start in (0, 2)]
    assert [row["flops"] for row in rows] == [row["flops"] for own, _ in alone for row in own]
    assert rows[0]["run"] == "chat_univi_7b_v15 0-seed0" and rows[-1]["run"] == "chat_univi_13b 50k-seed0"
    assert [row["action"] for row in rows] == ["train", "train", "shared", "train", "train"] * 2
    totals, one = costs.totals(arms), alone[0][1].totals(arms[:2])
    assert totals is not None and one is not None
    assert totals["visual_tokens"] == one["visual_tokens"]
    assert set(totals["memory_bytes"]) == {
        f"{model} {stage}"
        for model in ("chat_univi_7b_v15", "chat_univi_13b")
        for stage in ("align", "caption", "instruct")
    }
    power = plan_power(arms, costs.size)
    assert power is not None and power["arms"] == 2
    assert power["basis"].endswith("; numbers and prices are of the first of 2 studies")


def test_a_sweep_over_captioners_trains_on_the_captions_of_each_and_prices_them() -> None:
    models = ("gemini_3_1_flash_lite", "gemini_4_hydrogen")
    cheap, dear = (
        composed("experiment=captioners", f"captioner/model={name}", "paths.work=nowhere/work") for name in models
    )
    arms = [replace(one, data=replace(one.data, scale=scale)) for one in (cheap, dear) for scale in ("0", "400k")]
    rows, _ = planned_work(arms)
    assert [row["action"] for row in rows] == [
        "train", "train", "shared", "train", "train", "shared", "shared", "shared", "train", "train",
    ]  # fmt: skip
    assert rows[0]["run"] == "captioners_gemini-3.1-flash-lite 0-seed0"
    assert rows[-1]["run"] == "captioners_gemini-4-hydrogen 400k-seed0"
    first, second = prices = caption_prices(arms)
    # A video: 350 tokens of prompt and 18 * 75 of pictures at $0.25, 18 * 25 of sound at $0.50, 300 of answer at $1.50.
    assert first["usd"]["standard"] == pytest.approx(400_000 * (1700 * 0.25 + 450 * 0.50 + 300 * 1.50) / 1e6)
    assert first["usd"]["flex"] == pytest.approx(220) and second["usd"]["standard"] > 4 * first["usd"]["standard"]
    assert [row["videos"] for row in prices] == [400_000] * 2
    assert caption_lines(prices)[0].startswith(
        "captions to buy: 400,000 by gemini-3.1-flash-lite (captioner=gemini): $440.00 (standard), $220.00 (batch)"
    )
    assert caption_prices([composed("data.scale=50k")]) == []  # captions of the demo world cost nothing


def test_the_price_of_captions_is_that_of_the_manifest_s_videos_until_they_are_bought(tmp_path: Path) -> None:
    config = composed(
        "experiment=captioners", "data.scale=1k", "captioner/model=gemini_3_5_flash_lite", f"paths.work={tmp_path}"
    )
    silent = '{"has_audio": false}'
    clips = [VideoRecord(f"v{n}", "webvid", f"v{n}.mp4", duration_s=36.0, extra=silent) for n in range(2000)]
    write_manifest(config.data.manifest_path, clips)
    (found,) = caption_prices([config])
    # 350 tokens of prompt and 36 * 75 of pictures at $0.30, no sound, 300 of answer at $2.50; half of the videos.
    assert found["usd"]["standard"] == pytest.approx(1000 * (3050 * 0.30 + 300 * 2.50) / 1e6)
    assert "assumed" not in caption_lines([found])[0]
    path = captioner_of(config.captioner).place(config.data)
    write_captions(path, [CaptionRecord("v0", "A dog runs.")], {})
    assert caption_prices([config]) == []


def test_the_plan_of_adaptive_buying_names_its_cores_and_its_largest_price(tmp_path: Path) -> None:
    config = composed(
        "experiment=captioners", "data.scale=530k", "captioner/model=gemini_3_5_flash_lite", f"paths.work={tmp_path}",
        "captioner.buy=adaptive", "captioner.min_gain_per_usd=0.0005",
    )  # fmt: skip
    path = captioner_of(config.captioner).place(config.data)
    write_captions(path, [CaptionRecord("v0", "A dog runs.")], {})
    (line,) = caption_lines(caption_prices([config]))
    assert line.startswith("captions to buy, at most: 530,000 by gemini-3.5-flash-lite")
    assert line.endswith("; buy=adaptive trains on each of 50k, 100k, 200k, 400k, 530k until it stops")


def test_the_captions_of_all_videos_have_a_price(tmp_path: Path) -> None:
    """`data.scale=all`, the default of data=folder, has no number of its own."""
    config = composed(
        "experiment=captioners", "data.scale=all", "captioner/model=gemini_3_5_flash_lite", f"paths.work={tmp_path}"
    )
    (unknown,) = caption_prices([config])
    assert "captions to buy, for every 1,000 videos: 1,000 by" in caption_lines([unknown])[0]
    assert unknown["usd"]["standard"] > 0.5
    clips = [VideoRecord(f"v{n}", "webvid", f"v{n}.mp4", duration_s=18.0) for n in range(2000)]
    write_manifest(config.data.manifest_path, clips)
    (known,) = caption_prices([config])
    assert known["videos"] == 2000
    assert known["usd"]["standard"] == pytest.approx(2 * unknown["usd"]["standard"])


def test_the_power_of_a_plan_is_that_of_every_benchmark() -> None:
    one = composed("experiment=scaling_webvid", "dry_run=true", "wanted_points=2")
    two = replace(one, more_benchmarks={"video_mme_v2": VideoMmeV2Config("video_mme_v2", "nowhere")})
    arms = [replace(two, data=replace(two.data, scale=scale)) for scale in ("0", "50k")]
    power = plan_power(arms, None)
    alone = plan_power([replace(arm, more_benchmarks={}) for arm in arms], None)
    assert power is not None and alone is not None
    assert {row["benchmarks"] for row in power["rows"]} == {("video_mme",), ("video_mme_v2",)}
    assert [row for row in power["rows"] if row["benchmarks"] == ("video_mme",)] == alone["rows"]
    assert power["another_seed"]["benchmark"] == "video_mme_v2"  # it has more questions
    new = replace(two, more_benchmarks={"own": replace(two.more_benchmarks["video_mme_v2"], name="own")})
    unknown = plan_power([replace(new, data=replace(new.data, scale=scale)) for scale in ("0", "50k")], None)
    assert unknown is not None and unknown["basis"].endswith("the size of own is not known")
    assert "which resolves most" in power_text(power) and "which resolves most" not in power_text(alone)


def test_operations_of_the_caption_stage() -> None:
    real = study()
    # 18 frames are two events of 112 tokens; 190 ids of text, 120 of them supervised.
    positions = 190 + 224
    linear = 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008) * positions + 2 * 4096 * 32000 * 120
    attention = 2 * 32 * 4096 * positions**2
    connector = 2 * 1024 * 4096 * 224
    expected = 50_000 * (3 * (linear + attention) + 2 * connector)
    estimate = estimate_stage(real, size_of(real), real.stage.caption, 50_000)
    assert estimate.flops == pytest.approx(expected, rel=1e-12)
    assert gpu_hours(estimate.flops, real.trainer) == pytest.approx(expected / (989e12 * 0.25 * 3600))


def test_without_the_cache_every_draw_includes_the_cost_of_the_tower() -> None:
    real, size = on_machine(visual_token_cache=False), size_of(study())
    more = estimate_stage(real, size, real.stage.caption, 10).flops
    less = estimate_stage(study(), size, real.stage.caption, 10).flops
    assert more - less == pytest.approx(10 * size.tower_flops(18))


def test_size_of_the_visual_tokens() -> None:
    real = study()
    pictures, clips = 595_000 + 150_000 + 665_000, 530_000
    tokens = 112 * (pictures + 558_000) + 448 * 100_000 + 224 * (702_000 + clips)  # 18 frames: two events; 64: four
    cache = estimate_cache(real, size_of(real), clips)
    assert cache.clips == pictures + 1_260_000 + 100_000 + clips
    assert cache.size == tokens * 1024 * 2
    assert [size_of(real).visual_tokens(frames) for frames in (0, 1, 2, 3, 17, 64, 500)] == [
        0,
        112,
        224,
        112,
        224,
        448,
        448,
    ]


def test_memory_and_checkpoints_of_the_whole_model_and_of_adapters() -> None:
    real = study()
    size = size_of(real)
    learning = 6_738_415_616 + 4_198_400
    whole = estimate_stage(real, size, real.stage.caption, 1)
    assert 16 * learning / 8 < whole.memory < 16 * learning / 8 + 8e9  # eight devices share weights, gradients, moments
    assert whole.checkpoint == 2 * (learning + size.tower_weights)
    assert whole.resume == 12 * learning
    lora = with_adapters(on_machine(strategy="auto", devices=1))
    adapters = size.adapter_weights(64)
    adapted = estimate_stage(lora, size, lora.stage.caption, 1)
    assert adapters == 32 * 64 * (4 * 8192 + 3 * (4096 + 11008))
    assert adapted.resume == 12 * (adapters + 4_198_400)
    assert 2 * 6_738_415_616 < adapted.memory < 40e9  # fits one GPU of 80 GB
    alone = on_machine(strategy="auto", devices=1)
    assert estimate_stage(alone, size, alone.stage.caption, 1).memory > 80e9  # does not


def test_samples_of_a_stage_are_shared_among_its_sources() -> None:
    real = study()
    assert expected_samples(real.stage.align) == 1_855_000
    assert expected_samples(real.stage.caption) is None
    media = stage_media(real.stage.instruct, 1830.0)
    assert [(medium.frames, round(medium.samples)) for medium in media] == [(1, 300), (64, 200), (1, 1330)]


def test_the_plan_says_what_is_missing_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    print_plan([at_scale("0"), at_scale("50k"), study()])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("visual tokens, once: 3,300,000 clips", "memory per GPU, about: align", "disk:", "shared", "8 GPUs",
                  "missing: lmsys/vicuna-7b-v1.5", "cc3m_595k_chat.json", "video_mme (questions and videos",
                  "manifest.parquet"):  # fmt: skip
        assert words in text, words


def test_a_benchmark_that_is_not_here_is_missing_with_the_tiny_model_too(tmp_path: Path) -> None:
    folders = [f"paths.work={tmp_path / 'work'}", f"paths.demo_world={tmp_path / 'demo'}"]
    assert print_plan([composed(*folders)]) == []
    missing = print_plan([composed(*folders, "benchmark=mlvu", f"benchmark.folder={tmp_path / 'nowhere'}")])
    assert missing == [f"{tmp_path / 'nowhere'} (questions and videos of benchmark=mlvu)"]


def test_commands_for_missing_inputs_name_the_kind_of_the_data_and_its_own_name(tmp_path: Path) -> None:
    folders = [f"paths.work={tmp_path / 'work'}", f"paths.demo_world={tmp_path / 'demo'}"]
    real = composed(*folders, "data=webvid", "data.name=ours", f"data.videos={tmp_path}")
    assert any("python -m sg.embed data=webvid data.name=ours " in line for line in print_plan([real]))
    assert not any("dialogs of stage" in line for line in print_plan([real]))


def test_the_plan_of_jobs_on_a_cluster_does_not_search_gpus_on_this_machine(tmp_path: Path) -> None:
    if torch.cuda.device_count() >= 8:
        pytest.skip("this machine has the GPUs")
    run = composed(f"paths.work={tmp_path / 'work'}", f"paths.demo_world={tmp_path / 'demo'}", "trainer=ddp")
    assert print_plan([run]) == ["GPUs: 0 of 8 (trainer.devices)"]
    assert print_plan([run], on_cluster=True) == []


def test_a_plan_on_a_cpu_prints_no_gpu_hours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan([composed(f"paths.work={tmp_path / 'work'}", f"paths.demo_world={tmp_path / 'demo'}")])
    assert "GPU" not in capsys.readouterr().out


def test_the_plan_of_a_sweep_says_what_it_resolves_and_what_another_seed_buys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    priced = [
        replace(config, dry_run=True, wanted_points=2.0, usd_per_hour=2.5)
        for config in (at_scale("0"), at_scale("50k"), study(), replace(study(), data=equal_steps(study())))
    ]
    print_plan(priced)  # 13.3 h of align, 4 times 40.6 of instruct, 0.9 + 9.7 + 9.7 of captions
    text = " ".join(capsys.readouterr().out.split())
    for words in ("of 4 arms find, in points of accuracy", "seeds caption effect scale effect control",
                  "video_mme 1 2.7 2.7 2.7", "video_mme 10 1.4 1.4 1.4",
                  "one more seed (2 instead of 1) for 4 runs, 196 GPU-hours, $490: caption effect 2.7 -> 2.5",
                  "of 2 points, cheapest design: "):  # fmt: skip
        assert words in text, words


def test_a_plan_of_one_run_compares_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan([study()])
    assert "power:" not in capsys.readouterr().out


def equal_steps(config: TrainConfig) -> Any:
    return replace(config.data, scale="50k", control="equal_steps", control_scale="530k")


def test_sizes_of_models_on_this_machine_are_read_and_unknown_ones_are_not_guessed() -> None:
    tiny = composed()
    assert size_of(tiny).hidden == 64
    assert missing_weights(tiny.model) == []
    strange = replace(tiny.model, language_model="nobody/has-this")
    assert model_size(strange) is None
    assert missing_weights(strange) == [
        "nobody/has-this (weights: hf download nobody/has-this, or set model.language_model)"
    ]


def test_a_forest_of_other_settings_is_not_taken(tmp_path: Path) -> None:
    def missing(*overrides: str) -> list[str]:
        config = composed("data=webvid", f"data.dir={tmp_path}", *overrides)
        return [line for line in missing_inputs(config) if "forest.parquet" in line]

    forest = tmp_path / "curation" / "tome" / "forest.parquet"
    made = identity("curation", settings=composed("data=webvid", "curator.seed=1").curator, version=1)
    write_forest(forest, plain_forest("abc"))
    assert missing() == []  # nothing is recorded
    write_record(forest.with_name("curation.json"), made_by(made))
    (line,) = missing()
    assert "made with other settings, settings.seed: 1 -> 0: give these" in line and "curator.name=NAME" in line
    assert missing("curator.seed=1") == []


def test_a_rehearsal_prints_what_a_device_needs_and_makes_nothing(tmp_path: Path) -> None:
    paths = [f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}"]
    done = run(["train.py", "rehearse=true", "trainer.nodes=2", "trainer.devices=2", *paths, "format=json"])
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["kind"], record["nodes"], record["devices"]) == ("rehearsal", 2, 2)
    assert [row["stage"] for row in record["stages"]] == ["align", "caption", "instruct"]
    assert all(row["formula_flops"] > 0 and row["peak_bytes"] > 0 for row in record["stages"])
    assert not (tmp_path / "work").exists() and not list((tmp_path / "runs").glob("*"))
