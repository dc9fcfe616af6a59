import numpy as np
import pytest

from sg.core.errors import ConfigError
from sg.curate.order import is_target_side, video_keys


@pytest.mark.parametrize(
    ("seed", "key", "sides"),
    [(0, 0x468B16D877A6710D, [0, 1, 0, 0, 1, 0, 1, 0]), (7, 0x777D3ADF970CE302, [1, 1, 1, 0, 0, 0, 0, 0])],
)
def test_keys_and_sides_have_the_documented_values(seed, key, sides):
    keys = video_keys(["webvid/0000001"], seed)
    assert int(keys[0]) == key
    assert [int(is_target_side(keys, round_number)[0]) for round_number in range(8)] == sides


def test_a_key_depends_on_the_id_alone():
    ids = [f"v{number}" for number in range(100)]
    np.testing.assert_array_equal(video_keys(ids, 3)[40:50], video_keys(ids[40:50], 3))


def test_sides_are_about_even_in_every_round():
    keys = video_keys([f"v{number}" for number in range(4000)], 0)
    shares = [is_target_side(keys, round_number).mean() for round_number in range(50)]
    assert min(shares) > 0.46 and max(shares) < 0.54


def test_two_equal_keys_ask_for_another_seed():
    with pytest.raises(ConfigError, match="choose another seed"):
        video_keys(["same", "same"], 0)
