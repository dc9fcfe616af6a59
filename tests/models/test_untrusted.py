"""Model folders by strangers: no code is run, attention has a known name, and a config that lies costs no memory."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from sg.core.errors import ModelError
from sg.embed.transformers_models import load_vision_model
from sg.models.chat_univi.build import build_model
from sg.models.chat_univi.settings import ModelConfig
from tests.models.chat_univi.test_build import parts


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def saved(tmp_path: Path) -> ModelConfig:
    """A whole model in our layout."""
    build_model(parts(tmp_path)).save_pretrained(tmp_path / "stage")
    settings = {"spatial_clusters": [8, 4, 2], "temporal_cluster_rate": 1 / 8}
    return ModelConfig(name="again", checkpoint=str(tmp_path / "stage"), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["lm", "tower", "stage"])
@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_an_attention_of_another_name_is_refused(part: str, key: str, tmp_path: Path) -> None:
    config = saved(tmp_path) if part == "stage" else parts(tmp_path)
    change(tmp_path / part, **{key: "someone/kernels:attention"})
    with pytest.raises(ModelError, match=rf"{key}='someone/kernels:attention' in its config\.json, expected one of"):
        build_model(config)


def test_an_attention_is_looked_for_in_every_part_of_a_config(tmp_path: Path) -> None:
    config = saved(tmp_path)
    nested = json.loads((tmp_path / "stage" / "config.json").read_text())["text_config"]
    change(tmp_path / "stage", text_config=nested | {"_attn_implementation": {"": "eager", "x": "a/b"}})
    with pytest.raises(ModelError, match="'a/b'"):
        build_model(config)
    change(tmp_path / "stage", text_config=nested | {"_attn_implementation": "eager"})
    build_model(config)


LIES = {
    "hidden_size": 65_536, "vocab_size": 10**12, "num_hidden_layers": 10**7, "intermediate_size": 10**30,
    "num_attention_heads": 0, "hidden_act": "no such function",
}  # fmt: skip


@pytest.mark.parametrize("key", LIES)
def test_a_config_that_lies_is_one_sentence_and_takes_no_memory(key: str, tmp_path: Path) -> None:
    config = parts(tmp_path)
    change(tmp_path / "lm", **{key: LIES[key]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"model\.language_model=.*/lm") as caught:
        build_model(config)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_so_does_a_whole_model_and_an_embedder(tmp_path: Path) -> None:
    config = saved(tmp_path)
    nested = json.loads((tmp_path / "stage" / "config.json").read_text())["text_config"]
    change(tmp_path / "stage", text_config=nested | {"vocab_size": 10**9})
    with pytest.raises(ModelError, match=r"weights by its config\.json, but its weight files have only"):
        build_model(config)
    change(tmp_path / "tower", hidden_size=48_000)
    with pytest.raises(ModelError, match=r"weights by its config\.json, but its weight files have only"):
        load_vision_model(tmp_path / "tower", "clip", 64, 8)


def test_code_in_a_folder_is_never_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, mark = parts(tmp_path), tmp_path / "ran"
    code = f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
    (tmp_path / "lm" / "evil.py").write_text(code)
    places = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    change(tmp_path / "lm", auto_map=places)
    build_model(config)
    assert "brings code of its own (auto_map), which is never run" in caplog.text
    change(tmp_path / "lm", model_type="evil")
    with pytest.raises(ModelError) as caught:
        build_model(config)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
