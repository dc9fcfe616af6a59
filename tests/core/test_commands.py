"""Commands: typed configs, and errors as one sentence."""

from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf

from sg.core.commands import one_sentence_errors, typed
from sg.core.errors import ConfigError, ExitCode


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
