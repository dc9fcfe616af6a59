"""Commands: typed configs, and errors as one sentence."""

import errno
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sg.core.commands import one_sentence_errors, typed
from sg.core.errors import ConfigError, DataError, ExitCode, disk_problem
from sg.core.files import write_json
from tests.core.disks import largest_file


@dataclass
class Inner:
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ConfigError(f"inner.rate={self.rate} should be above 0.")


@dataclass
class Root:
    name: str = "???"
    inner: Inner = field(default_factory=Inner)


def test_a_config_becomes_the_dataclasses_it_is_made_of() -> None:
    assert typed(OmegaConf.structured(Root(name="a")), Root) == Root("a", Inner(0.1))


def test_a_key_that_slipped_past_the_schema_is_refused() -> None:
    config = OmegaConf.structured(Root(name="a"))
    OmegaConf.update(config, "inner.foo", 1, force_add=True)
    with pytest.raises(ConfigError, match=r"no key 'inner\.foo'"):
        typed(config, Root)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    config = OmegaConf.structured(Root(name="a"))
    config.inner.rate = value
    with pytest.raises(ConfigError, match=rf"^inner\.rate={value} should be a finite number\.$"):
        typed(config, Root)


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="needs a value for name"):
        typed(OmegaConf.structured(Root), Root)


def test_a_schema_s_own_check_keeps_its_sentence() -> None:
    config = OmegaConf.structured(Root(name="a"))
    config.inner.rate = -1
    with pytest.raises(ConfigError, match=r"^inner\.rate=-1\.0 should be above 0\.$"):
        typed(config, Root)


@pytest.mark.parametrize(
    ("raised", "sentence", "code"),
    [
        (KeyboardInterrupt(), "stopped: run the same command again to resume", ExitCode.INTERRUPTED),
        (ConfigError("seed=x is not a number."), "error: seed=x is not a number.", ExitCode.USAGE),
    ],
)
def test_a_stop_and_a_mistake_are_told_at_once_in_one_sentence(
    raised: BaseException, sentence: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as end, one_sentence_errors():
        raise raised
    assert end.value.code == code
    assert capsys.readouterr().err.strip() == sentence


def test_a_full_disk_is_one_sentence_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_sentence_errors(), largest_file(1000):
        write_json(tmp_path / "big.json", "x" * 5000)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'big.json'} cannot be written, because the disk is full")
    assert "run the same command again" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "permissions"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/7: file write failed"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/data/a.txt"), "/data/a.txt cannot be read or written"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/a.txt"), "/data/a.txt cannot be read or written"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/data/a.txt"), "/data/a.txt cannot be written"),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "/data/a.txt"),
            "/data/a.txt cannot be read or written (Is a",
        ),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/file/work"), "check this path and its disk"),
        (FileExistsError(errno.EEXIST, "File exists", "/work/stages/caption-1"), "check this path and its disk"),
        (OSError(errno.ESTALE, "Stale file handle", "/nfs/a.txt"), "(Stale file handle): check this path"),
    ],
)
def test_troubles_of_a_disk_are_one_sentence_whatever_library_raises_them(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), one_sentence_errors():
        try:
            raise error
        except Exception as cause:
            raise HydraException("a job failed") from cause
    assert words in capsys.readouterr().err


def test_other_errors_keep_their_trace_and_sentences_are_not_wrapped_again() -> None:
    with pytest.raises(KeyError), one_sentence_errors():
        raise KeyError("a bug")
    assert disk_problem(DataError("The vectors cannot be written (No space left on device): make room.")) is None
