"""The console command `sg`: quick, and a mistake is one sentence."""

import subprocess
import sys

import pytest

import sg
from sg import cli
from sg.core.errors import ExitCode
from tests.study.commands import run


def test_every_subcommand_has_a_function_to_run() -> None:
    code = "import importlib; from sg.cli import COMMANDS\n"
    code += "assert all(callable(importlib.import_module(module).main) for module, _ in COMMANDS.values())"
    assert run(["-c", code]).returncode == 0


def test_an_unknown_subcommand_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sg", "trian", "data.scale=0"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == cli.USAGE == ExitCode.USAGE
    shown = "error: sg has no command 'trian' (did you mean train?): choose one of train,"
    assert capsys.readouterr().err.startswith(shown)


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from sg import cli\n"
        "for word in ('--help', '--version'):\n    sys.argv = ['sg', word]; cli.main()\n"
        "assert not {'torch', 'hydra', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert f"sg {sg.__version__}" in done.stdout
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)
