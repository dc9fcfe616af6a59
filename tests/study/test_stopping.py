"""Signals and machines: SIGTERM and Ctrl-C end in one sentence with their exit codes, and missing devices are named."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from hydra_plugins.sg_launcher.process_launcher import ProcessLauncher
from sg.artefacts.checkpoint import read_stage_info
from sg.core.commands import one_sentence_errors
from sg.core.errors import ExitCode, SgError, Terminated
from sg.core.layout import CONFIG_FOLDER
from sg.study.devices import is_termination
from sg.study.planning.machine import check_launcher
from sg.study.sweep import PlannedRun
from sg.train.stage import train_stage
from tests.study.commands import overrides, run
from tests.train.builders import RandomClips, inputs, stage_job, tiny_student, trainer_config

SENTENCE = "stopped: run the same command again to resume"


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A suite that a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_sigterm_is_one_sentence_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, one_sentence_errors():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert end.value.code == ExitCode.TERMINATED
    assert capsys.readouterr().err.strip() == SENTENCE
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("number", "raised", "code"),
    [(signal.SIGTERM, Terminated, ExitCode.TERMINATED), (signal.SIGINT, KeyboardInterrupt, ExitCode.INTERRUPTED)],
)
def test_a_signal_in_a_stage_stops_it_and_it_resumes(
    number: signal.Signals, raised: type[BaseException], code: int, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    job = stage_job(tmp_path / "caption", epochs=3)

    def train(is_stopped: bool) -> None:
        def report(values: object) -> None:
            if is_stopped:
                os.kill(os.getpid(), number)

        train_stage(job, tiny_student, inputs(), RandomClips(), trainer_config(), report)

    with pytest.raises(SystemExit) as end, one_sentence_errors():
        train(is_stopped=True)
    assert end.value.code == code
    chain = end.value.__context__
    assert type(chain) is raised
    assert read_stage_info(job.folder) is None
    train(is_stopped=False)
    assert read_stage_info(job.folder) is not None


ENDS = {
    "exit(143)": ("was ended by SIGTERM: run the same command again to resume.", ExitCode.TERMINATED),
    "os.kill(os.getpid(), 15)": ("was ended by SIGTERM: run the same command again", ExitCode.TERMINATED),
    "os.kill(os.getpid(), 9)": ("failed (killed by signal 9); its log is", ExitCode.FAILED),
    "exit(0)": ("failed (it ended without a result); its log is", ExitCode.FAILED),
}


@pytest.mark.parametrize("program", ENDS)
def test_a_job_of_a_sweep_without_a_result_is_a_failure(program: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("train", ["data.scale=50k"], return_hydra_config=True)
    launcher = ProcessLauncher()
    launcher._command = lambda run: [sys.executable, "-c", f"import os; {program}"]  # type: ignore[method-assign]
    job = launcher._run(PlannedRun("study", "50k-seed0", tmp_path / "50k-seed0", []), config)
    with pytest.raises(SgError) as error:
        _ = job.return_value
    sentence, code = ENDS[program]
    assert sentence in str(error.value)
    assert error.value.exit_code == code


@pytest.mark.parametrize("code", [143, -15])
def test_exit_codes_of_a_terminated_process(code: int) -> None:
    assert is_termination(code)
    assert not is_termination(1)


DEVICES = {
    "trainer=gpu": "trainer.devices=1 needs 1 GPU, but PyTorch finds none on this machine: use trainer=cpu.",
    "trainer=ddp": "trainer.devices=8 needs 8 GPUs, but PyTorch finds none on this machine: use trainer=cpu.",
    "trainer=fsdp": "trainer.devices=8 needs 8 GPUs, but PyTorch finds none on this machine: use trainer=cpu.",
    "-m trainer=gpu data.scale=50k": "trainer.devices=1 needs 1 GPU, but PyTorch finds none",
    "-m launcher=slurm data.scale=50k": "launcher=slurm needs Slurm, but this machine has no srun",
}


@pytest.mark.parametrize("words", DEVICES)
def test_what_this_machine_lacks_is_one_sentence_before_anything_is_made(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    done = run(["train.py", *words.split(), *overrides(tmp_path)])
    assert done.returncode == ExitCode.USAGE, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert DEVICES[words] in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_other_launchers_need_no_slurm() -> None:
    check_launcher("hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher")
