"""Mistakes of a user: one sentence, printed before anything is loaded."""

from pathlib import Path

import pytest

from sg.core.errors import ExitCode
from tests.study.commands import overrides, run

MISTAKES = {
    "data.scale=600k": "530,000",
    "data.scale=abc": "data.scale='abc' is not a scale",
    "model=nope": "There is no model=nope: choose one of",
    "data.scal=1": "The config has no key 'data.scal'",
    "+data.foo=1": "The config has no key 'data.foo'",
    "data.control=nope": "data.control='nope'",
    "seed=x": "seed",
    "stage.instruct.name=x": "stage.instruct.name='x' should be 'instruct'",
    "stage.caption.batch_size=7 stage.caption.micro_batch_size=4": "stage.caption.batch_size=7 cannot be split",
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_a_mistake_prints_one_sentence_and_exits_with_an_error(mistake: str, mode: str, tmp_path: Path) -> None:
    sweep = ["-m"] if mode == "sweep" else []
    done = run(["train.py", *sweep, *mistake.split(), *overrides(tmp_path)])
    assert done.returncode == ExitCode.USAGE
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert MISTAKES[mistake] in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_reported_without_loading_torch(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', 'data.scale=600k']\n"
        "try:\n    runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code, end\n"
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'wandb', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run(["-c", code])
    assert done.returncode == 0, done.stderr


def test_an_evaluation_does_not_import_lightning_which_takes_seconds() -> None:
    code = "import sys; import sg.study.evaluation, sg.study.models; assert 'pytorch_lightning' not in sys.modules"
    done = run(["-c", code])
    assert done.returncode == 0, done.stderr


def test_help_names_the_groups_and_the_commands() -> None:
    done = run(["train.py", "--help"])
    assert done.returncode == 0
    for word in ("data.scale=50k,100k,200k,400k,530k", "model", "launcher", "experiment=demo_scaling"):
        assert word in done.stdout
