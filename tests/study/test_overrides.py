"""Every form of an override means the same in a sweep, or is refused before anything starts."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sg.artefacts.result import read_result
from sg.caption.__main__ import main as caption
from sg.core.commands import typed
from sg.core.errors import ConfigError, ExitCode
from sg.core.layout import CONFIG_FOLDER
from sg.curate.__main__ import main as curate
from sg.doctor.__main__ import main as doctor
from sg.embed.__main__ import main as embed
from sg.report.__main__ import main as report
from sg.sources.__main__ import main as scan
from sg.sources.sets.mix import MixPart
from sg.study.config import TrainConfig
from sg.study.evaluation import main as evaluate
from sg.study.main import main as train
from sg.study.sweep import begin_sweep, planned_run
from tests.study.commands import SMALL_STUDY, run


def swept(folder: Path, *words: str) -> list[str]:
    """The runs of `train.py -m WORDS`, as their folders below `folder`, after the checks of the sweep."""
    given = ["controls=[]", f"paths.work={folder / 'work'}", f"paths.runs={folder / 'runs'}"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", given, run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=lambda config: None, config=config
        )
        listed = OverridesParser.create(config_loader=loader).parse_overrides([*given, *words])
        (jobs,) = sweeper.split_arguments(listed, None)
        configs = [loader.load_sweep_config(config, job) for job in jobs]
        begin_sweep(configs, jobs)
        return [planned_run(each, job).name for each, job in zip(configs, jobs, strict=True)]


def test_a_launcher_file_of_ones_own_keeps_the_sweeper_of_studies(tmp_path: Path) -> None:
    (tmp_path / "launcher").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /hydra/launcher: basic\n"
    (tmp_path / "launcher" / "mine.yaml").write_text(text)
    words = [f"hydra.searchpath=[file://{tmp_path}]", "launcher=mine"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("train", overrides=words, return_hydra_config=True)
    assert config.hydra.sweeper._target_.endswith(".StudySweeper")


@pytest.mark.parametrize(
    "words",
    [
        ["data.scale=50k,100k"],
        ["++data.scale=50k,100k"],
        ["data.scale='50k',\"100k\""],
        ["data.scale=range(50000,150000,50000)"],
        ["data.scale=5e4,100_000,50k"],
        ["data.control_scale=100k", "data.scale=50k,${data.control_scale}"],
        ["data.scale=75k", "++data.scale=choice(50k,100k)"],
        ["seed=0,00", "data.scale=50k,100k"],
    ],
)
def test_every_form_names_the_same_runs(words: list[str], tmp_path: Path) -> None:
    assert swept(tmp_path, *words) == ["0-seed0", "50k-seed0", "100k-seed0"]


def test_a_setting_that_one_run_of_a_sweep_uses_is_taken(tmp_path: Path) -> None:
    words = ["data.scale=50k", "stage.peft=none,lora", "stage.caption.lora.rank=4"]
    assert swept(tmp_path, *words) == ["0-seed0", "50k-seed0"] * 2


@pytest.mark.parametrize("form", ["data.control=random", "++data.control='random'", "data={control:random}"])
def test_every_form_of_a_control_is_recognised(form: str, tmp_path: Path) -> None:
    assert swept(tmp_path, form, "data.scale=50k") == ["50k-random-seed0"]


def test_a_pattern_finds_options_and_not_their_schemas(tmp_path: Path) -> None:
    assert swept(tmp_path, "curator=glob(km*)", "data.scale=0") == ["0-seed0"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["data.scale='50k,100k'"], "is not a scale"),
        (["data.scale=[50k,100k]"], "Error merging override"),
        (["data={scale:0},{scale:50k}"], "one folder"),
        (["data.scale=glob(*)"], "no jobs"),
        (["seed=12345678901234567890"], "seed="),
        (["seed=-1"], "seed="),
        (["trainer.num_threads=1,2"], "one folder"),
        (["stage.caption.lora.rank=4"], "has no effect"),
        (["hydra.sweep.dir=somewhere", "curator=tome,random"], "one folder"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_first_run(words: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, HydraException, OmegaConfBaseException), match=reason):
        swept(tmp_path, "data.scale=0", *words)
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_is_expanded_in_every_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["data=folder", "data.videos='~/clips'", "paths.work='~/work'", "paths.runs='~/runs'"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = GlobalHydra.instance().config_loader().load_configuration("train", words, run_mode=RunMode.RUN)
        settings = typed(config, TrainConfig)
        assert str(config.hydra.run.dir).startswith(f"{tmp_path}/runs/folder_scaling-")
    assert (settings.data.videos, settings.data.dir) == (f"{tmp_path}/clips", f"{tmp_path}/work/folder")


def composed(*words: str) -> TrainConfig:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return typed(loader.load_configuration("train", list(words), run_mode=RunMode.RUN), TrainConfig)


def test_a_mix_takes_a_source_of_any_name_by_its_keys() -> None:
    data = composed("data=mix", "+data.sources.mine.dir='~/a'").data
    assert data.sources["mine"] == MixPart(str(Path("~/a").expanduser()))
    weights = [f"data.sources.{name}.weight=1" for name in ("webvid", "kinetics400")]
    data = composed("data=mix", *weights, "+data.sources.mine.dir=b", "+data.sources.mine.weight=2").data
    assert data.sources["mine"] == MixPart("b", 2)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("+data.sources.mine.dirr=a", r"data\.sources\.mine has no key 'dirr' \(did you mean dir\?\)"),
        ("+data.sources.mine.weight=2", r"data\.sources\.mine\.dir=DIR"),
        ("data.sources.webvid.weight=much", r"data\.sources\.webvid\.weight='much' should be a number"),
        ("+data.sources.mine=a", r"data\.sources\.mine='a' should be the settings"),
        (
            "data.sources.webvid.weight=3",
            r"weights webvid: 3, kinetics400: null: give one to every source",
        ),
    ],
)
def test_a_wrong_source_of_a_mix_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        composed("data=mix", word)


def test_the_mix_in_a_file_of_its_own_composes_as_its_page_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (CONFIG_FOLDER.parent / "docs" / "data_sources.md").read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "my_mix.yaml").write_text(page.split("# conf/data/my_mix.yaml\n")[1].split("```")[0])
    words = [
        "--config-dir",
        str(tmp_path),
        "data=my_mix",
        "captioner=mix",
        "paths.work=/w",
        "--cfg",
        "job",
        "--resolve",
    ]
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    train()
    data = OmegaConf.create(capsys.readouterr().out).data
    sources = {name: (part.dir, part.weight) for name, part in data.sources.items()}
    assert sources == {"webvid": ("/w/webvid", 3), "kinetics400": ("/w/kinetics400", 0), "clips": ("/w/folder", 1)}
    assert (data.name, data.videos, data.size) == ("my_mix", "/data", "200k")


def test_a_source_that_a_mix_lacks_is_added_with_a_plus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("data.sources.mine.dir", "data.sources.webvid.wight"):
        monkeypatch.setattr("sys.argv", ["train.py", "data=mix", f"{key}=a"])
        with pytest.raises(SystemExit):
            train()
        assert "To add it, put + before the setting." in capsys.readouterr().err


def test_a_file_of_paths_may_leave_out_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paths").mkdir()
    (tmp_path / "paths" / "mine.yaml").write_text("defaults: [paths_schema, _self_]\nwork: /scratch\n")
    words = ["--config-dir", str(tmp_path), "paths=mine", "data.world.world_seed=3", "--cfg", "job", "--resolve"]
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    train()
    paths = OmegaConf.create(capsys.readouterr().out).paths
    assert paths == {
        "work": "/scratch",
        "runs": str(CONFIG_FOLDER.parent / "runs"),
        "demo_world": "/scratch/demo-w3-10",
    }


@pytest.mark.parametrize("plus", ["", "++"])
def test_curation_takes_the_names_of_embedder_and_captioner(
    plus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=demo", f"{plus}embedder=clip", f"{plus}captioner=gemini", "--cfg", "job"]
    monkeypatch.setattr(sys, "argv", ["curate", *words])
    curate()
    shown = capsys.readouterr().out
    assert "embedder:\n  name: clip\n" in shown and "captioner:\n  name: gemini\n" in shown


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        (train, ["scale=50k"], "(did you mean data.scale?)"),
        (train, ["daat=folder"], "(did you mean data?)"),
        (train, ["stage.aling.epochs=2"], "(did you mean stage.align?)"),
        (train, ["trainer.devics=2"], "(did you mean trainer.devices?)"),
        (train, ["captioner=gemni"], "(did you mean gemini?)"),
        (train, ["data.control=equal_step"], "(did you mean equal_steps?)"),
        (train, ["+experiment=demo_scaling"], "write experiment=VALUE without +"),
        (train, ["data.scale=50k,100k"], "add -m to make a run for each"),
        (train, ["foo"], "write KEY=VALUE"),
        (train, ["stage.caption.lora.rank=4"], "stage.caption.lora.rank=4 has no effect: it sets adapters"),
        (train, ["stages=[align,caption]", "stage.instruct.epochs=9"], "stages=[align,caption] leaves this stage out"),
        (train, ["controls=[random]"], "add -m, or make one of them with data.control=NAME"),
        (train, ["data.control_scale=100k"], "data.control_scale=100k has no effect"),
        (scan, ["data.scale=50k"], "data.scale=50k has no effect on sources: it is a setting of train.py"),
        (caption, ["data.held_out.videos=9"], "data.held_out.videos=9 has no effect on caption"),
        (embed, ["data.control=random"], "data.control=random has no effect on embed"),
        (evaluate, ["checkpoint=x", "trainer.devices=4"], "has no effect on evaluate: shards=N asks with N processes"),
        (curate, ["curator=toem"], "(did you mean tome?)"),
        (curate, ["missing=skp"], "(did you mean skip?)"),
        (report, ["dashbord", "study=x"], "(did you mean dashboard?)"),
        (report, ["stdy=x"], "(did you mean study?)"),
        (report, ["study=x", "-m"], "leave out -m"),
        (doctor, ["-m", "data.scale=50k,100k"], "leave out -m"),
    ],
)
def test_a_command_names_what_was_meant(
    command: Callable[[], None], words: list[str], sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["command", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as end:
        command()
    shown = capsys.readouterr().err
    assert end.value.code == ExitCode.USAGE and sentence in shown and shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (train, ["data=folder", "data.videos=none", "dry_run=true"]),
        (doctor, ["data=folder", "data.videos=none"]),
        (scan, ["data=folder", "data.videos=none"]),
        (scan, ["data=webvid", "data.videos=none", "data.annotations=none.csv"]),
        (caption, ["data=folder", "data.videos=none"]),
        (embed, ["data=folder", "data.videos=none"]),
        (curate, ["data=folder", "data.videos=none"]),
        (curate, ["data=webvid", "data.videos=none", "extend=100k"]),
        (evaluate, ["checkpoint=none"]),
        (evaluate, ["merge=none"]),
        (evaluate, ["predictions=none.jsonl"]),
        (report, ["study=none"]),
        (report, ["cards", "study=none"]),
        (report, ["dashboard", "study=none"]),
        (report, ["compare", "none-a", "none-b"]),
    ],
)
def test_a_command_without_its_input_says_so_and_makes_nothing(
    command: Callable[[], None], words: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    places = [] if command is report else [f"paths.work={tmp_path / 'work'}", f"paths.runs={tmp_path / 'runs'}"]
    monkeypatch.setattr(sys, "argv", ["command", *words, *places])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as end:
        command()
    shown = capsys.readouterr()
    assert end.value.code == ExitCode.MISSING, shown.err
    assert "none" in shown.out + shown.err or "no table" in shown.err
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == []


def test_a_report_on_a_folder_without_runs_makes_nothing_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", f"study={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        report()
    assert end.value.code == ExitCode.MISSING and "contains no runs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_runs_and_report_go_to_the_folder_that_hydra_is_given(tmp_path: Path) -> None:
    out = tmp_path / "it's [é] = out"
    words = [
        "train.py",
        "data.scale=0",
        "logger=csv",
        "launcher=local",
        *SMALL_STUDY,
        f"paths.work={tmp_path / 'work'}",
    ]
    done = run([*words, "-m", 'hydra.sweep.dir="' + str(out) + '"'])
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_result(out / "0-seed0").is_finished
    assert (out / "report" / "tables.csv").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {out.name, "work"}
