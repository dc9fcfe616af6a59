"""The estimate of a run, and the reservation of its costs."""

import datetime
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import sg.caption.config  # noqa: F401 - its schemas
from sg.caption.config import CaptionConfig
from sg.caption.hosted.pricing import EstimatedVideo, Forecast, estimate, price_on, video_tokens
from sg.caption.hosted.services.records import Usage
from sg.caption.hosted.settings import HostedCaptionerConfig, PriceConfig, QuotaConfig, ServiceModelConfig
from sg.core.commands import typed
from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER

NOVEMBER, DECEMBER, JANUARY = (datetime.date(*day) for day in ((2026, 11, 22), (2026, 12, 1), (2027, 1, 1)))
VIDEOS = 530_000
MODELS = sorted(path.stem for path in (Path(CONFIG_FOLDER) / "captioner" / "model").glob("*.yaml"))


def composed(model: str, *overrides: str) -> HostedCaptionerConfig:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        words = ["data=demo", "captioner=gemini", f"captioner/model={model}", *overrides]
        config = typed(compose("caption", words), CaptionConfig)
    assert isinstance(config.captioner, HostedCaptionerConfig)
    return config.captioner


@pytest.mark.parametrize(
    ("model", "day", "sync", "batch", "thinking"),
    [
        ("gemini_2_5_flash_lite", NOVEMBER, 178, 89, 284),
        ("gemini_3_1_flash_lite", NOVEMBER, 523, 262, 921),
        ("gemini_3_5_flash_lite", NOVEMBER, 739, 370, 1402),
        ("gemini_3_8_flash", NOVEMBER, 1451, 725, 2445),
        ("gemini_3_8_flash", JANUARY, 2902, 1451, 4889),
        ("gemini_3_1_pro_preview", NOVEMBER, 4187, 2094, 7367),
        ("gemini_4_argon", NOVEMBER, 3869, 1935, 6519),
        ("gemini_4_argon", DECEMBER, 7738, 3869, 13038),
    ],
)
def test_the_estimate_of_webvid_is_the_published_table(
    model: str, day: datetime.date, sync: int, batch: int, thinking: int
) -> None:
    one = estimate(composed(model), [EstimatedVideo(18.0, None, 2_150_000)], day)
    assert (one.input_tokens, one.output_tokens) == (2150, 300)
    for shown, exact in ((sync, one.sync_usd), (batch, one.batch_usd), (thinking, one.sync_usd_thinking)):
        assert abs(exact * VIDEOS - shown) <= 1


def test_time_and_bytes_of_the_estimate() -> None:
    fast = QuotaConfig(rpm=4000, tpm=4_000_000, usd_per_10_min=None, safety_factor=1.0)
    slow = QuotaConfig(rpm=1000, tpm=1_000_000, usd_per_10_min=None, safety_factor=1.0)
    config = composed("gemini_3_5_flash_lite")
    for quota, hours in ((fast, 4.7), (slow, 19.0)):
        config.quota = quota
        made = estimate(config, (EstimatedVideo(18.0, None, 2_149_000) for _ in range(5300)), NOVEMBER)
        assert made.hours is not None and made.hours * 100 == pytest.approx(hours, abs=0.06)
    assert made.media_bytes * 100 / 1e12 == pytest.approx(1.14, abs=0.005)
    assert made.wire_bytes * 100 / 1e12 == pytest.approx(1.52, abs=0.005)
    assert "$7.39" in made.text() and "in base64" in made.text()


@pytest.mark.parametrize("model", MODELS)
def test_every_price_says_where_it_was_read(model: str) -> None:
    found = composed(model, *(["captioner.model.name=x"] if model == "own_server" else [])).model
    assert price_on(found, NOVEMBER).input >= 0
    assert all(row.source and row.read_on for row in found.prices)


def test_an_expired_price_is_refused() -> None:
    model = ServiceModelConfig(name="m", prices=[PriceConfig(1, 2, valid_to="2026-01-01")])
    with pytest.raises(ConfigError, match="no price of m for 2026-11-22"):
        price_on(model, NOVEMBER)
    assert price_on(model, NOVEMBER, allow_expired=True).expired
    with pytest.raises(ConfigError, match="should be days"):
        PriceConfig(1, 2, valid_to="soon")


def test_tokens_of_a_video_depend_on_its_duration_sound_and_resolution() -> None:
    model = composed("gemini_3_5_flash_lite").model
    assert video_tokens(model, 17.2, None) == 1800 and video_tokens(model, 18, False) == 1350
    assert video_tokens(model, 18, False, fps=2) == 1350 + 18 * 70
    model.media_resolution = "high"
    assert video_tokens(model, 18, False) == 18 * 285


def test_thinking_is_charged_as_output_and_the_forecast_learns_from_answers() -> None:
    price = price_on(composed("gemini_3_5_flash_lite").model, NOVEMBER)
    assert price.cost(Usage(1_000_000, 500_000, 500_000)) == pytest.approx(2.80)
    forecast = Forecast(price, 1000)
    assert forecast.tokens(2000) == 2000
    assert forecast.worst_usd(2000) == pytest.approx((2000 * 0.3 + 1000 * 2.5) / 1e6)
    forecast.learn(2000, Usage(2400, 150))
    assert forecast.tokens(2000) == 2400
    assert forecast.likely_usd(2000) < forecast.worst_usd(2000)


def test_a_setting_that_the_model_refuses_is_an_error() -> None:
    from sg.caption.hosted.run import recipe_of

    with pytest.raises(ConfigError, match=r"ignored or refused by gemini-3\.8-flash"):
        recipe_of(composed("gemini_3_8_flash", "+captioner.generation.temperature=0.2"))
    with pytest.raises(ConfigError, match=r"minimal.* is not accepted"):
        composed("gemini_3_8_flash", "captioner.model.thinking_level=minimal")
    with pytest.raises(ConfigError, match="looks like an API key"):
        composed("gemini_3_5_flash_lite", "captioner.base_url=http://x/AIza" + "a" * 35)
