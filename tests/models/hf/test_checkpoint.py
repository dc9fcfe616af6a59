"""Folders of `save_pretrained` are read and written; what cannot be used is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from sg.core.errors import MissingInputError, ModelError, SgError
from sg.models.student import STUDENTS, VISION
from sg.models.students.hf import HfConfig
from tests.models.hf.families import FAMILIES
from tests.models.hf.more_families import EVERY_FAMILY
from tests.models.hf.samples import LONG, samples_of
from tests.models.hf.tokenizers_of_tests import tiny_tokenizer


def config_of(folder: Path) -> HfConfig:
    return HfConfig(name="tiny", checkpoint=str(folder))


def edit(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(folder: Path, is_planned: bool = True) -> str:
    config = config_of(folder)
    kind = STUDENTS.of(config)
    with pytest.raises(SgError) as caught:
        kind.processor(config)
        kind.load(config)
    assert isinstance(caught.value, (ModelError, MissingInputError))
    sentence = str(caught.value)
    if is_planned:
        with pytest.raises(SgError) as planned:
            kind.missing(config)
        assert str(planned.value) == sentence
    assert "\n" not in sentence and str(folder) in sentence
    return sentence


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_a_saved_student_is_loaded_by_transformers_alone(name: str, tmp_path: Path) -> None:
    folder = EVERY_FAMILY[name].save(tmp_path / "model")
    config = config_of(folder)
    student = STUDENTS.of(config).load(config)
    for value in student.module.parameters():
        value.data += 0.01
    written = tmp_path / "stage"
    student.module.save_pretrained(written)
    student.processor.save(written)

    model = AutoModelForImageTextToText.from_pretrained(written).eval()
    processor = AutoProcessor.from_pretrained(written)
    assert model.state_dict().keys() == student.module.state_dict().keys()
    again = STUDENTS.of(config).load(config, str(written))
    samples = samples_of(student)
    expected = student.loss(student.processor.collate(samples, LONG))[0]
    torch.testing.assert_close(again.loss(again.processor.collate(samples, LONG))[0], expected)
    text = processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "x"}]}])
    assert text and processor.video_processor is not None


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_sizes_are_known_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    folder = EVERY_FAMILY[name].save(tmp_path / "model")
    config = config_of(folder)
    kind = STUDENTS.of(config)
    planned, student = kind.describe(config), kind.load(config)
    assert planned is not None
    in_files = sum(value.numel() for value in student.module.parameters())
    assert planned.weights == in_files
    samples = samples_of(student)
    tokens = student.measure(student.processor.collate(samples[:1], LONG)).visual_tokens
    assert planned.visual_tokens(6) == pytest.approx(tokens, rel=0.6)  # other frames, none stands still
    assert (planned.frame_flops > 0) == bool(student.parts[VISION]) and planned.max_frames >= 4
    assert planned.token_bytes == sum(student.feature_widths("connector").values()) * 2 - (name == "video_llama_3") * 2


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path)
    config = HfConfig(name="x", checkpoint="no/such/folder/at/all")
    with pytest.raises(MissingInputError, match=r"model\.checkpoint=no/such/folder/at/all is not a folder"):
        STUDENTS.of(config).load(config)


def test_a_text_only_model_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **sizes)).save_pretrained(tmp_path)
    tiny_tokenizer(("<e>",), eos="<e>", pad="<e>").save_pretrained(tmp_path)
    assert "llama model, which takes text only" in refusal(tmp_path)


def test_a_processor_without_video_is_refused(tmp_path: Path) -> None:
    import transformers

    folder = FAMILIES["llava_onevision"].save(tmp_path)
    tokenizer = FAMILIES["llava_onevision"].tokenizer()
    for file in ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        (folder / file).unlink(missing_ok=True)
    images = transformers.CLIPImageProcessor(size={"height": 32, "width": 32})
    transformers.LlavaProcessor(images, tokenizer, patch_size=8).save_pretrained(folder)
    assert "LlavaProcessor) that takes no video" in refusal(folder)


def test_a_model_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = FAMILIES["internvl"].save(tmp_path)
    edit(folder, "config.json", model_type="strange_vl")
    assert "model_type='strange_vl'" in refusal(folder) and "does not know that model" in refusal(folder)
    edit(folder, "config.json", auto_map={"AutoModel": "modeling.Strange"})
    assert "its own code (auto_map), which is never run" in refusal(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen3_vl"].build()
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    processor.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    assert f"lacks 1 of {len(shards)} shards, first {shards[1].name}" in refusal(tmp_path)


@pytest.mark.parametrize(("part", "key"), [("text_config", "num_hidden_layers"), ("vision_config", "depth")])
def test_a_config_that_does_not_fit_the_weights_is_refused(part: str, key: str, tmp_path: Path) -> None:
    folder = FAMILIES["qwen3_vl"].save(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    edit(folder, "config.json", **{part: config[part] | {key: 10**6}})
    assert "1,000,000 layers by its config.json" in refusal(folder)


def test_a_folder_without_a_processor_is_refused(tmp_path: Path) -> None:
    model, processor = FAMILIES["qwen3_vl"].build()
    model.save_pretrained(tmp_path)
    assert "has no processor (processor_config.json): copy the files" in refusal(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert "has no tokenizer (tokenizer.json): copy the files" in refusal(tmp_path)


def test_a_model_without_weights_of_a_layer_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = FAMILIES["internvl"].save(tmp_path)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "layers.1.mlp" in name)
    save_file({name: value for name, value in weights.items() if name != gone}, folder / "model.safetensors")
    assert "lacks 1 of the model's weights" in refusal(folder, is_planned=False)
