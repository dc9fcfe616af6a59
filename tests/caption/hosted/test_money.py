"""The estimate of a run, and the reservation of its costs."""

import csv
import datetime
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

import sg.caption.config  # noqa: F401 - its schemas
from sg.caption.config import CaptionConfig
from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.engine.items import CaptionItem
from sg.caption.hosted.engine.outcomes import Outcomes, Sent
from sg.caption.hosted.price_list import LIST_FILE, compare_prices
from sg.caption.hosted.prices import TIERS, PriceConfig, price_on, table
from sg.caption.hosted.pricing import EstimatedVideo, Forecast, estimate, expected_usage, price_of
from sg.caption.hosted.run import ledger_path, recipe_of
from sg.caption.hosted.services.gemini import answer_from_json
from sg.caption.hosted.services.records import Answer, Usage
from sg.caption.hosted.settings import HostedCaptionerConfig, QuotaConfig
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import Task
from sg.core.commands import typed
from sg.core.errors import ConfigError
from sg.core.layout import CONFIG_FOLDER
from tests.caption.hosted.builder import caption, data_folder, settings
from tests.caption.hosted.fake_gemini import forms
from tests.caption.hosted.fake_gemini.faults import FORMS, FaultPlan
from tests.caption.hosted.fake_gemini.state import State

NOVEMBER, DECEMBER, JANUARY = (datetime.date(*day) for day in ((2026, 11, 29), (2026, 12, 1), (2027, 1, 1)))
VIDEOS = 530_000
MODELS = sorted(path.stem for path in (Path(CONFIG_FOLDER) / "captioner" / "model").glob("*.yaml"))
BY_HAND = Path(__file__).with_name("cases") / "prices_2026_11_29.csv"


def composed(model: str, *overrides: str) -> HostedCaptionerConfig:
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        words = ["data=demo", "captioner=gemini", f"captioner/model={model}", *overrides]
        config = typed(compose("caption", words), CaptionConfig)
    assert isinstance(config.captioner, HostedCaptionerConfig)
    return config.captioner


def table_by_hand() -> list[dict[str, str]]:
    lines = [line for line in BY_HAND.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


@pytest.mark.parametrize("model", sorted({row["model"] for row in table_by_hand()}))
def test_estimates_are_those_of_the_table_that_was_made_by_hand(model: str) -> None:
    """Three lengths with and without sound in four tiers, to the cent per thousand clips."""
    rows = [row for row in table_by_hand() if row["model"] == model]
    assert len(rows) == 24
    config = composed(model)
    for row in rows:
        config.tier = row["tier"]
        made = estimate(config, [EstimatedVideo(float(row["seconds"]), row["sound"] == "yes")], NOVEMBER)
        assert made.input_tokens == int(row["input_tokens"])
        assert abs(1000 * made.usd[row["tier"]] - float(row["usd_per_1000_clips"])) < 0.00501, row


@pytest.mark.parametrize(
    ("model", "day", "single", "batch", "thinking"),
    [
        ("gemini_2_5_flash_lite", NOVEMBER, 239, 119, 345),
        ("gemini_3_1_flash_lite", NOVEMBER, 583, 291.5, 980.5),
        ("gemini_3_5_flash_lite", NOVEMBER, 739, 370, 1402),
        ("gemini_3_8_flash", NOVEMBER, 1451, 725, 2445),
        ("gemini_3_8_flash", JANUARY, 2902, 1451, 4889),
        ("gemini_3_1_pro_preview", NOVEMBER, 4187, 2094, 7367),
        ("gemini_4_hydrogen", NOVEMBER, 2902, 1451, 4889),
        ("gemini_4_argon", NOVEMBER, 3869, 1935, 6519),
        ("gemini_4_argon", DECEMBER, 7738, 3869, 13038),
    ],
)
def test_the_estimate_of_webvid_is_the_table_of_the_guide(
    model: str, day: datetime.date, single: float, batch: float, thinking: float
) -> None:
    one = estimate(composed(model), [EstimatedVideo(18.0, None, 2_150_000)], day)
    for shown, exact in ((single, one.usd["standard"]), (batch, one.usd["batch"]), (thinking, one.thinking_usd)):
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
def test_every_price_says_where_and_when_it_was_read_and_the_day_can_be_true(model: str) -> None:
    found = composed(model, *(["captioner.model.name=x"] if model == "own_server" else [])).model
    assert price_on(found.name, found.prices, NOVEMBER).row["source"]
    days = [row.read_on for row in found.prices] + ([table()["read_on"]] if found.name in table()["models"] else [])
    assert all(row.source for row in found.prices) and days
    for day in days:
        assert (found.announced or "2000-01-01") <= day <= datetime.datetime.now(datetime.UTC).date().isoformat()


def test_an_expired_price_is_refused() -> None:
    rows = [PriceConfig(1, 2, valid_to="2026-01-01")]
    with pytest.raises(ConfigError, match="no price of m for 2026-11-29"):
        price_on("m", rows, NOVEMBER)
    assert price_on("m", rows, NOVEMBER, allow_expired=True).expired
    with pytest.raises(ConfigError, match="should be days"):
        PriceConfig(1, 2, valid_to="soon")


@pytest.mark.parametrize("name", ["gemini-2.5-flash", "gemini-2.5-pro"])
def test_a_model_has_no_price_from_the_day_on_which_its_service_ends(name: str) -> None:
    assert not price_on(name, [], NOVEMBER).expired
    with pytest.raises(ConfigError, match="its service ended on 2026-12-01"):
        price_on(name, [], DECEMBER)
    assert price_on(name, [], DECEMBER, allow_expired=True).expired


def test_a_tier_without_a_price_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"captioner\.tier=flex has no price for m: it has standard, batch"):
        price_on("m", [PriceConfig(1, 2, tiers={"batch": 0.5})], NOVEMBER, "flex")
    with pytest.raises(ConfigError, match=r"captioner\.tier=flex is not offered by this service: it has standard"):
        OpenAICompatibleCaptionerConfig(name="x", tier="flex")


def test_a_newer_price_list_is_compared_with_the_copy_and_becomes_it(tmp_path: Path) -> None:
    models = {f"gemini/{name}": dict(fields) for name, fields in table()["models"].items()}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(models), encoding="utf-8")
    assert "no price has changed" in compare_prices(path, None)

    models["gemini/gemini-3.5-flash-lite"]["input_cost_per_token"] = 4e-07
    del models["gemini/gemini-2.5-pro"]
    models["gemini/gemini-5"] = {"mode": "chat", "supported_modalities": ["text", "video"]}
    wheel, out = tmp_path / "litellm-9.9.9-py3-none-any.whl", tmp_path / "copy.json"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(LIST_FILE, json.dumps(models))
    text = compare_prices(wheel, out)
    assert "litellm 9.9.9 against the copy of litellm 1.110.2, read on 2026-11-29" in text
    assert "gemini-3.5-flash-lite: input_cost_per_token 0.3 -> 0.4" in text
    assert "gemini-2.5-pro: the list does not have it any more" in text and "does not have: gemini-5" in text
    copy = json.loads(out.read_text(encoding="utf-8"))
    assert copy["source"] == "litellm 9.9.9" and "gemini-2.5-pro" not in copy["models"]
    with pytest.raises(ConfigError, match="should be litellm's price list"):
        compare_prices(tmp_path / "missing.json", None)


def test_tokens_of_a_video_depend_on_its_duration_sound_and_resolution() -> None:
    config = composed("gemini_3_5_flash_lite")
    assert expected_usage(config, 17.2, None) == Usage(2150, 300, video=1350, audio=450)
    assert expected_usage(config, 18, False) == Usage(1700, 300, video=1350)
    config.fps = 2
    assert expected_usage(config, 18, False).input == 1700 + 18 * 70
    config.fps, config.model.media_resolution = None, "high"
    assert expected_usage(config, 18, False).input == 350 + 18 * 285


SOUND = CaptionItem("k", "v", "test", "", "v.mp4", 18.0, True, 0, None, None, "")
SPLIT = [{"modality": "VIDEO", "tokenCount": 1350}, {"modality": "AUDIO", "tokenCount": 450}]
CACHED_SOUND = [{"modality": "AUDIO", "tokenCount": 400}]
WHOLE = {"promptTokenCount": 2150, "candidatesTokenCount": 300, "promptTokensDetails": SPLIT}
USAGES: list[tuple[dict[str, Any] | None, float]] = [
    # gemini-3.1-flash-lite: 0.25, sound 0.50, output 1.50, cached 0.025, cached sound 0.05 USD per million tokens.
    (WHOLE, 1.10),
    (None, 1.10),
    ({}, 1.10),
    ({"promptTokenCount": None, "candidatesTokenCount": None}, 1.10),
    ({"totalTokenCount": 2450}, 1.10),
    ({"promptTokenCount": 2150, "candidatesTokenCount": 300}, 1.10),
    (WHOLE | {"candidatesTokenCount": None}, 1.10),
    (WHOLE | {"candidatesTokenCount": None, "totalTokenCount": 2550}, 1.25),
    (WHOLE | {"promptTokenCount": None}, 1.10),
    (WHOLE | {"thoughtsTokenCount": 100}, 1.25),
    (WHOLE | {"promptTokenCount": "2150"}, 1.10),
    (WHOLE | {"promptTokensDetails": SPLIT[:1]}, 0.9875),
    (WHOLE | {"cachedContentTokenCount": 1000}, 0.875),
    (
        WHOLE | {"cachedContentTokenCount": 1000, "cacheTokensDetails": CACHED_SOUND},
        0.785,
    ),
    (WHOLE | {"cachedContentTokenCount": 9000}, 0.515),
    (WHOLE | {"promptTokenCount": 4_000_000}, 1.10),
    (WHOLE | {"candidatesTokenCount": 50_000}, 1.10),
]


@pytest.mark.parametrize(("counts", "usd_per_1000"), USAGES)
def test_every_shape_of_usage_costs_what_the_table_says(counts: dict[str, Any] | None, usd_per_1000: float) -> None:
    """Missing counts cost what the estimate says, never nothing."""
    config = composed("gemini_3_1_flash_lite")
    body: dict[str, Any] = {"candidates": [{"content": {"parts": [{"text": "A man."}]}, "finishReason": "STOP"}]}
    answer = answer_from_json(body if counts is None else body | {"usageMetadata": counts})
    assert isinstance(answer, Answer)
    for tier, share in zip(TIERS, (1, 0.5, 0.5, 1.8), strict=True):
        config.tier = tier
        recipe = recipe_of(config)
        outcomes = Outcomes(recipe, price_of(config, NOVEMBER), {}, draw=random.Random(0))
        believed = recipe.believed(answer, SOUND, {})
        settled = outcomes.settle(Sent(Task("t", "k", "v", 0), SOUND, None, "inline", 0.0), believed)
        assert 1000 * settled.attempt.cost_usd == pytest.approx(share * usd_per_1000)
    blocked = Answer("", block_reason="SAFETY", usage=Usage(2150))
    settled = outcomes.settle(Sent(Task("t", "k", "v", 0), SOUND, None, "inline", 0.0), blocked)
    assert 1000 * settled.attempt.cost_usd == pytest.approx(1.8 * 0.65)
    # A request of priority above its quota is served, and charged, as a standard one.
    lower = outcomes.settle(
        Sent(Task("t", "k", "v", 0), SOUND, None, "inline", 0.0), replace(believed, tier="standard")
    )
    assert 1000 * lower.attempt.cost_usd == pytest.approx(usd_per_1000)


def test_a_ledger_costs_the_sum_of_its_answers(
    tmp_path: Path, state: State, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"clip{number:02d}" for number in range(len(USAGES))]
    for clip, (counts, _) in zip(ids, USAGES, strict=True):
        monkeypatch.setitem(FORMS, f"ok_priced_{clip}", forms._with(usageMetadata=counts))
    state.settings.plan = FaultPlan({clip: [f"ok_priced_{clip}"] for clip in ids})
    model = composed("gemini_3_1_flash_lite").model
    config = settings(url, model=model, quota=QuotaConfig(rpm=None, tpm=None, usd_per_10_min=None))
    data = data_folder(tmp_path, ids, extra={"has_audio": True})
    caption(data, config)
    with reading.open_for_reading(ledger_path(data, config)) as db:
        spent, lines = (
            reading.spent_usd(db),
            dict(db.execute("SELECT video_id, cost_usd FROM attempt JOIN task USING (task_key)")),
        )
    for clip, (_, usd_per_1000) in zip(ids, USAGES, strict=True):
        assert 1000 * lines[clip] == pytest.approx(usd_per_1000), clip
    assert 1000 * spent == pytest.approx(sum(usd for _, usd in USAGES))


def test_the_long_prompts_of_a_model_cost_more_for_all_of_their_tokens() -> None:
    price = price_on("gemini-3.1-pro-preview", [], NOVEMBER)
    assert price.cost(Usage(200_000, 1000)) == pytest.approx(0.412)
    assert price.cost(Usage(200_001, 1000)) == pytest.approx(0.818004)


def test_thinking_is_charged_as_output_and_the_forecast_learns_from_answers() -> None:
    price = price_of(composed("gemini_3_5_flash_lite"), NOVEMBER)
    assert price.cost(Usage(100_000, 50_000, 50_000)) == pytest.approx(0.28)
    forecast, expected = Forecast(price, 1000), Usage(2000, 300)
    assert forecast.tokens(expected) == 2000
    assert forecast.worst_usd(expected) == pytest.approx((2000 * 0.3 + 1000 * 2.5) / 1e6)
    forecast.learn(expected, Usage(2400, 150))
    assert forecast.tokens(expected) == 2400
    assert forecast.likely_usd(expected) < forecast.worst_usd(expected)


def test_a_setting_that_the_model_refuses_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"ignored or refused by gemini-3\.8-flash"):
        recipe_of(composed("gemini_3_8_flash", "+captioner.generation.temperature=0.2"))
    with pytest.raises(ConfigError, match=r"minimal.* is not accepted"):
        composed("gemini_3_8_flash", "captioner.model.thinking_level=minimal")
    with pytest.raises(ConfigError, match=r"xhigh.* is not accepted"):
        composed("gemini_4_argon", "captioner.model.thinking_level=xhigh")
    assert (
        recipe_of(composed("gemini_4_hydrogen", "captioner.model.thinking_level=xhigh")).parameters["thinking_level"]
        == "XHIGH"
    )
    with pytest.raises(ConfigError, match="looks like an API key"):
        composed("gemini_3_5_flash_lite", "captioner.base_url=http://x/AIza" + "a" * 35)
