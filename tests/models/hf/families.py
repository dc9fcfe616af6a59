"""Tiny random models of video families, with processors and templates of their dialects, made without a download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from tests.models.hf.tokenizers_of_tests import tiny_tokenizer

for package in ("torchvision", "num2words"):
    pytest.importorskip(package)

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096, "initializer_range": 0.2,
}  # fmt: skip
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}

CHATML_PARTS = (
    "{%- if m.content is string -%}{{ m.content }}{%- else -%}{%- for c in m.content -%}"
    "{%- if c.type == 'video' -%}{{ VIDEO }}{%- elif c.type == 'image' -%}{{ IMAGE }}"
    "{%- else -%}{{ c.text }}{%- endif -%}{%- endfor -%}{%- endif -%}"
)


def chatml(video: str, image: str, system: str = "") -> str:
    """A ChatML template: `video` and `image` stand for the media, `system` is the default system text."""
    parts = CHATML_PARTS.replace("VIDEO", repr(video)).replace("IMAGE", repr(image))
    opening = (
        "{%- if messages[0].role != 'system' -%}{{ '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}{%- endif -%}"
        if system
        else ""
    )
    return (
        opening + "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' }}" + parts + "{{ '<|im_end|>\\n' }}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
    )


LLAVA_TEMPLATE = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m.role + ' ' }}"
    "{%- if m.content is string -%}{{ '\\n' + m.content }}{%- else -%}"
    "{%- for c in m.content if c.type == 'image' -%}{{ '<image>' }}{%- endfor -%}"
    "{%- for c in m.content if c.type == 'video' -%}{{ '<video>' }}{%- endfor -%}"
    "{%- for c in m.content if c.type == 'text' -%}"
    "{%- if m.role == 'assistant' -%}{%- generation -%}{{ '\\n' + c.text }}{%- endgeneration -%}"
    "{%- else -%}{{ '\\n' + c.text }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


@dataclass(frozen=True)
class Family:
    """How to build a tiny model: `model` and `processor` take the tokenizer."""

    name: str
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    config: Callable[[PreTrainedTokenizerFast], Any]
    processor: Callable[[PreTrainedTokenizerFast], Any]

    def build(self, seed: int = 0) -> tuple[Any, Any]:
        """A random model in float32, in eval mode, and its processor."""
        tokenizer = self.tokenizer()
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(self.config(tokenizer))
        with torch.no_grad():  # norms of ones and biases of zeros would hide mistakes
            for value in model.parameters():
                value.add_(0.05 * torch.randn_like(value))
        return model.float().eval(), self.processor(tokenizer)

    def save(self, folder: Path, seed: int = 0) -> Path:
        """Write the checkpoint folder of a random model."""
        model, processor = self.build(seed)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    number = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(number, int)
    return number


def text_settings(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> dict[str, Any]:
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    return TEXT | {"vocab_size": len(tokenizer) + 5} | ids | changes


_QWEN_SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(_QWEN_SPECIALS, eos="<|im_end|>", pad="<|endoftext|>")


def qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "image_token_id": token_id(tokenizer, "<|image_pad|>"),
        "video_token_id": token_id(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": token_id(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": token_id(tokenizer, "<|vision_end|>"),
    }


_QWEN_VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def _qwen2_5_vl() -> Family:
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 7, "window_size": 28, "fullatt_block_indexes": [1], "tokens_per_second": 2,
        }  # fmt: skip
        text = text_settings(tokenizer, rope_parameters=dict(MROPE))
        del text["head_dim"]
        return transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **qwen_ids(tokenizer))

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.Qwen2_5_VLProcessor(
            transformers.Qwen2VLImageProcessor(patch_size=7, size=size),
            tokenizer,
            transformers.Qwen2VLVideoProcessor(patch_size=7, size=size, fps=2, max_frames=16, do_sample_frames=True),
            chat_template=chatml(_QWEN_VIDEO, _QWEN_IMAGE, "You are helpful."),
        )

    return Family("qwen2_5_vl", qwen_tokenizer, config, processor)


def _qwen3_vl() -> Family:
    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 8, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2],
        }  # fmt: skip
        text = text_settings(tokenizer, rope_parameters=MROPE | {"mrope_interleaved": True})
        ids = qwen_ids(tokenizer)
        return transformers.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"shortest_edge": 16 * 16 * 4, "longest_edge": 32 * 32 * 8}
        return transformers.Qwen3VLProcessor(
            transformers.Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096}),
            tokenizer,
            transformers.Qwen3VLVideoProcessor(patch_size=8, size=size, fps=2, max_frames=16),
            chat_template=chatml(_QWEN_VIDEO, _QWEN_IMAGE),
        )

    return Family("qwen3_vl", qwen_tokenizer, config, processor)


def _internvl() -> Family:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(
            specials, eos="<|im_end|>", pad="<|endoftext|>", start_image_token="<img>", end_image_token="</img>",
            context_image_token="<IMG_CONTEXT>", video_token="<video>",
        )  # fmt: skip

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": [32, 32], "patch_size": [8, 8],
        }  # fmt: skip
        text = text_settings(tokenizer) | {"model_type": "qwen2"}
        return transformers.InternVLConfig(
            text_config=text, vision_config=vision, image_seq_length=4, tie_word_embeddings=False,
            image_token_id=token_id(tokenizer, "<IMG_CONTEXT>"),
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.InternVLProcessor(
            transformers.GotOcr2ImageProcessor(size={"height": 32, "width": 32}, max_patches=2),
            tokenizer,
            transformers.InternVLVideoProcessor(size={"height": 32, "width": 32}, num_frames=4, do_sample_frames=True),
            image_seq_length=4,
            chat_template=chatml("<video>\n", "<IMG_CONTEXT>\n"),
        )

    return Family("internvl", tokenizer, config, processor)


def _llava_onevision() -> Family:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(specials, eos="<|im_end|>", pad="<|endoftext|>")

    pinpoints = [[32, 32], [32, 64], [64, 32]]

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "vision_use_head": False,
        }  # fmt: skip
        return transformers.LlavaOnevisionConfig(
            text_config=text_settings(tokenizer) | {"model_type": "qwen2"}, vision_config=vision,
            image_token_index=token_id(tokenizer, "<image>"), video_token_index=token_id(tokenizer, "<video>"),
            image_grid_pinpoints=pinpoints,
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.LlavaOnevisionProcessor(
            transformers.LlavaOnevisionImageProcessor(size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints),
            tokenizer,
            transformers.LlavaOnevisionVideoProcessor(size={"height": 32, "width": 32}, num_frames=4),
            num_image_tokens=16,
            vision_feature_select_strategy="full",
            chat_template=LLAVA_TEMPLATE,
        )

    return Family("llava_onevision", tokenizer, config, processor)


def _smolvlm() -> Family:
    specials = (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>",
        "<global-img>", "<video>",
    )  # fmt: skip

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(
            specials, eos="<end_of_utterance>", pad="<|im_end|>", bos="<|im_start|>", image_token="<image>",
            fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
            end_of_utterance_token="<end_of_utterance>",
        )  # fmt: skip

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8,
        }  # fmt: skip
        return transformers.SmolVLMConfig(
            text_config=text_settings(tokenizer) | {"model_type": "llama"}, vision_config=vision, scale_factor=2,
            image_token_id=token_id(tokenizer, "<image>"),
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        side = {"longest_edge": 32}
        template = transformers.models.smolvlm.processing_smolvlm.DEFAULT_CHAT_TEMPLATE
        return transformers.SmolVLMProcessor(
            transformers.SmolVLMImageProcessor(size=side, max_image_size=side),
            tokenizer,
            transformers.SmolVLMVideoProcessor(
                size=side, max_image_size=side, do_sample_frames=True, num_frames=8, fps=1
            ),
            image_seq_len=4,
            chat_template=template,
        )

    return Family("smolvlm", tokenizer, config, processor)


def _video_llama_3() -> Family:
    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "patch_size": 8,
        }  # fmt: skip
        ids = {key: value for key, value in qwen_ids(tokenizer).items() if "vision" not in key}
        return transformers.VideoLlama3Config(
            text_config=text_settings(tokenizer) | {"model_type": "qwen2"}, vision_config=vision, **ids
        )

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"shortest_edge": 16 * 16, "longest_edge": 32 * 32 * 16}
        return transformers.VideoLlama3Processor(
            transformers.VideoLlama3ImageProcessor(patch_size=8, size=size),
            tokenizer,
            transformers.VideoLlama3VideoProcessor(patch_size=8, size=size, fps=1, max_frames=16),
            chat_template=chatml("<|video_pad|>\n", "<|image_pad|>\n"),
        )

    return Family("video_llama_3", qwen_tokenizer, config, processor)


def _molmo2() -> Family:
    specials = (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<im_start>", "<im_end>", "<im_patch>", "<im_col>",
        "<low_res_im_start>", "<frame_start>", "<frame_end>", "<im_low>", "<|image|>", "<|video|>",
    )  # fmt: skip

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(specials, eos="<|im_end|>", pad="<|endoftext|>", bos="<|endoftext|>")

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
        vision = heads | {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "image_size": [32, 32], "patch_size": 8
        }  # fmt: skip
        adapter = heads | {
            "vision_feature_layer": [2, 0], "hidden_size": 32, "intermediate_size": 48, "text_hidden_size": 32
        }  # fmt: skip
        text = {key: value for key, value in text_settings(tokenizer).items() if not key.endswith("token_id")}
        names = {
            "image_start_token_id": "<im_start>", "low_res_image_start_token_id": "<low_res_im_start>",
            "image_end_token_id": "<im_end>", "image_patch_id": "<im_patch>", "frame_start_token_id": "<frame_start>",
            "frame_end_token_id": "<frame_end>",
        }  # fmt: skip
        return transformers.Molmo2Config(
            text_config=text | {"additional_vocab_size": 0}, vision_config=vision, adapter_config=adapter,
            **{key: token_id(tokenizer, name) for key, name in names.items()},
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"height": 32, "width": 32}
        return transformers.Molmo2Processor(
            transformers.Molmo2ImageProcessor(
                size=size, patch_size=8, pooling_size=[2, 2], max_crops=2, overlap_margins=[1, 1]
            ),
            transformers.Molmo2VideoProcessor(size=size, patch_size=8, pooling_size=[3, 3], num_frames=8, max_fps=2),
            tokenizer,
            chat_template=chatml("<|video|>", "<|image|>"),
        )

    return Family("molmo2", tokenizer, config, processor)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _qwen2_5_vl(), _qwen3_vl(), _internvl(), _llava_onevision(), _smolvlm(), _video_llama_3(), _molmo2()
    )
}  # fmt: skip
