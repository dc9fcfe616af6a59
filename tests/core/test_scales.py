import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg.core.errors import ConfigError
from sg.core.scales import parse_scale, scale_label


@pytest.mark.parametrize("written", ["100000", "100k", "100K", "1e5", "0.1m", "100000.0", 100_000, 1e5, "100_000"])
def test_one_scale_can_be_written_in_several_ways(written: str | int | float) -> None:
    assert parse_scale(written) == 100_000


def test_zero_is_the_baseline_and_all_is_everything() -> None:
    assert parse_scale("0") == 0
    assert parse_scale("all") is None


@pytest.mark.parametrize("written", ["abc", "-5", "", "5.5", "50 k", "1e400", "nan", "50kk", "0x10"])
def test_a_text_that_is_not_a_scale_is_refused_by_name(written: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.scale"):
        parse_scale(written)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_label_reads_back_as_the_same_scale(scale: int) -> None:
    assert parse_scale(scale_label(scale)) == scale
