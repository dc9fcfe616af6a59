"""Further families that transformers has video for: built as those of `families.py`, tried as a whole."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import PreTrainedTokenizerFast

from tests.models.hf.families import (
    FAMILIES,
    LLAVA_TEMPLATE,
    MROPE,
    Family,
    chatml,
    qwen_ids,
    qwen_tokenizer,
    text_settings,
    token_id,
)
from tests.models.hf.tokenizers_of_tests import tiny_tokenizer

QWEN_VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": 32,
}  # fmt: skip
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def _qwen2_vl() -> Family:
    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 7}
        text = text_settings(tokenizer, rope_parameters=dict(MROPE))
        del text["head_dim"]
        return transformers.Qwen2VLConfig(text_config=text, vision_config=vision, **qwen_ids(tokenizer))

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
        return transformers.Qwen2VLProcessor(
            transformers.Qwen2VLImageProcessor(patch_size=7, size=size),
            tokenizer,
            transformers.Qwen2VLVideoProcessor(patch_size=7, size=size, fps=2, max_frames=16, do_sample_frames=True),
            chat_template=chatml(QWEN_VIDEO, QWEN_IMAGE),
        )

    return Family("qwen2_vl", qwen_tokenizer, config, processor)


def _qwen3(name: str, kind: str, text: dict[str, Any], vision: dict[str, Any]) -> Family:
    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        own = {
            "depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 8, "num_position_embeddings": 16,
        } | vision  # fmt: skip
        words = text_settings(tokenizer, rope_parameters=MROPE | {"mrope_interleaved": True}) | text
        return getattr(transformers, kind)(text_config=words, vision_config=own, **qwen_ids(tokenizer))

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"shortest_edge": 16 * 16 * 4, "longest_edge": 32 * 32 * 8}
        return transformers.Qwen3VLProcessor(
            transformers.Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096}),
            tokenizer,
            transformers.Qwen3VLVideoProcessor(patch_size=8, size=size, fps=2, max_frames=16),
            chat_template=chatml(QWEN_VIDEO, QWEN_IMAGE),
        )

    return Family(name, qwen_tokenizer, config, processor)


def _glm(name: str, kind: str, text: dict[str, Any]) -> Family:
    specials = (
        "<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>", "<|begin_of_image|>",
        "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<|image|>", "<|video|>",
    )  # fmt: skip

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(specials, eos="<|endoftext|>", pad="<|endoftext|>")

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        names = {
            "image_token_id": "<|image|>", "video_token_id": "<|video|>",
            "image_start_token_id": "<|begin_of_image|>", "image_end_token_id": "<|end_of_image|>",
            "video_start_token_id": "<|begin_of_video|>", "video_end_token_id": "<|end_of_video|>",
        }  # fmt: skip
        vision = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
            "patch_size": 8, "image_size": 32,
        }  # fmt: skip
        words = text_settings(tokenizer, rope_parameters=MROPE | {"partial_rotary_factor": 1.0}) | text
        ids = {key: token_id(tokenizer, value) for key, value in names.items()}
        return getattr(transformers, kind)(text_config=words, vision_config=vision, **ids)

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        template = (
            "[gMASK]<sop>{%- for m in messages -%}{{ '<|' + m.role + '|>\n' }}{%- if m.content is string -%}"
            "{{ m.content }}{%- else -%}{%- for c in m.content -%}{%- if c.type == 'video' -%}"
            "<|begin_of_video|><|video|><|end_of_video|>{%- elif c.type == 'image' -%}"
            "<|begin_of_image|><|image|><|end_of_image|>{%- else -%}{{ c.text }}{%- endif -%}{%- endfor -%}"
            "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|assistant|>\n' }}{%- endif -%}"
        )
        size = {"shortest_edge": 16 * 16 * 2, "longest_edge": 32 * 32 * 16}
        prefix = "Glm46V" if "46" in name else "Glm4v"
        return getattr(transformers, f"{prefix}Processor")(
            getattr(transformers, f"{prefix}ImageProcessor")(patch_size=8, size=size),
            tokenizer,
            getattr(transformers, f"{prefix}VideoProcessor")(patch_size=8, size=size, fps=2),
            chat_template=template,
        )

    return Family(name, tokenizer, config, processor)


def _llava_next_video() -> Family:
    pinpoints = [[32, 32], [32, 64], [64, 32]]

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.LlavaNextVideoConfig(
            text_config=text_settings(tokenizer) | {"model_type": "llama"}, vision_config=CLIP,
            image_token_index=token_id(tokenizer, "<image>"), video_token_index=token_id(tokenizer, "<video>"),
            image_grid_pinpoints=pinpoints,
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.LlavaNextVideoProcessor(
            transformers.LlavaNextVideoVideoProcessor(**CROP, num_frames=4, do_sample_frames=True),
            transformers.LlavaNextImageProcessor(**CROP, image_grid_pinpoints=pinpoints),
            tokenizer, chat_template=LLAVA_TEMPLATE, patch_size=8, vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )  # fmt: skip

    return Family("llava_next_video", _llava_tokenizer, config, processor)


def _llava_tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"), eos="<|im_end|>", pad="<|endoftext|>",
        image_token="<image>", video_token="<video>",
    )  # fmt: skip


def _video_llava() -> Family:
    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.VideoLlavaConfig(
            text_config=text_settings(tokenizer) | {"model_type": "llama"}, vision_config=CLIP,
            image_token_index=token_id(tokenizer, "<image>"), video_token_index=token_id(tokenizer, "<video>"),
        )  # fmt: skip

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        return transformers.VideoLlavaProcessor(
            transformers.VideoLlavaImageProcessor(**CROP),
            transformers.VideoLlavaVideoProcessor(**CROP, num_frames=8, do_sample_frames=True),
            tokenizer, patch_size=8, chat_template=LLAVA_TEMPLATE, num_additional_image_tokens=1,
        )  # fmt: skip

    return Family("video_llava", _llava_tokenizer, config, processor)


def _gemma4() -> Family:
    specials = (
        "<pad>", "<bos>", "<|turn>", "<turn|>", "<|image|>", "<|image>", "<image|>", "<|audio|>", "<|audio>",
        "<audio|>", "<|video|>",
    )  # fmt: skip

    def tokenizer() -> PreTrainedTokenizerFast:
        return tiny_tokenizer(
            specials, eos="<turn|>", pad="<pad>", bos="<bos>", image_token="<|image|>", boi_token="<|image>",
            eoi_token="<image|>", audio_token="<|audio|>", boa_token="<|audio>", eoa_token="<audio|>",
        )  # fmt: skip

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "pooling_kernel_size": 2,
            "position_embedding_size": 64,
        }  # fmt: skip
        text = text_settings(tokenizer)
        text |= {
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"], "sliding_window": 16,
            "vocab_size_per_layer_input": text["vocab_size"], "hidden_size_per_layer_input": 8,
            "global_head_dim": 8, "final_logit_softcapping": 30.0, "bos_token_id": tokenizer.bos_token_id,
        }  # fmt: skip
        names = {
            "image_token_id": "<|image|>", "video_token_id": "<|video|>", "boi_token_id": "<|image>",
            "eoi_token_id": "<image|>", "audio_token_id": "<|audio|>", "boa_token_id": "<|audio>",
            "eoa_token_index": "<audio|>",
        }  # fmt: skip
        ids = {key: token_id(tokenizer, value) for key, value in names.items()}
        return transformers.Gemma4Config(text_config=text, vision_config=vision, audio_config=None, **ids)

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        frames = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}
        return transformers.Gemma4Processor(
            transformers.Gemma4AudioFeatureExtractor(),
            transformers.Gemma4ImageProcessor(**frames),
            tokenizer,
            transformers.Gemma4VideoProcessor(**frames, num_frames=8),
            chat_template="{{ bos_token }}" + chatml("<|video|>", "<|image|>").replace(
                "<|im_start|>", "<|turn>").replace("<|im_end|>", "<turn|>"),
        )  # fmt: skip

    return Family("gemma4", tokenizer, config, processor)


def _ernie4_5_vl() -> Family:
    parts = {"token": "PLACEHOLDER", "start_token": "START", "end_token": "END"}
    kinds = [(kind, part) for kind in ("image", "video") for part in parts]
    marks = {f"{kind}_{part}": f"<|{kind.upper()}_{parts[part]}|>" for kind, part in kinds}

    def tokenizer() -> PreTrainedTokenizerFast:
        specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *marks.values())
        return tiny_tokenizer(specials, eos="<|im_end|>", pad="<|endoftext|>", **marks)

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8}
        experts = {"moe_intermediate_size": [16, 8], "moe_num_experts": 4, "moe_k": 2, "moe_num_shared_experts": 1}
        text = text_settings(tokenizer, rope_parameters=MROPE | {"mrope_section": [1, 1, 2]}) | experts
        del text["head_dim"]
        ids = {f"{name}_id": token_id(tokenizer, token) for name, token in marks.items()}
        return transformers.Ernie4_5_VLMoeConfig(text_config=text, vision_config=vision, **ids)

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        frames = {"patch_size": 8, "size": {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}}
        return transformers.Ernie4_5_VLMoeProcessor(
            transformers.Ernie4_5_VLMoeImageProcessor(**frames),
            tokenizer,
            transformers.Ernie4_5_VLMoeVideoProcessor(**frames, num_frames=8, draw_on_frames=False),
            chat_template=chatml(*(f"<|{k}_START|><|{k}_PLACEHOLDER|><|{k}_END|>" for k in ("VIDEO", "IMAGE"))),
        )

    return Family("ernie4_5_vl", tokenizer, config, processor)


def _gemma4_unified() -> Family:
    """Gemma 4 without a vision tower: patches go to the connector."""
    base = _gemma4()

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        whole = base.config(tokenizer).to_dict()
        text = text_settings(tokenizer, bos_token_id=tokenizer.bos_token_id)
        text |= {key: whole["text_config"][key] for key in ("layer_types", "sliding_window", "final_logit_softcapping")}
        vision = {
            "patch_size": 4,
            "pooling_kernel_size": 2,
            "mm_embed_dim": 32,
            "mm_posemb_size": 64,
            "output_proj_dims": 32,
        }
        ids = {key: value for key, value in whole.items() if key.endswith(("_token_id", "_token_index"))}
        return transformers.Gemma4UnifiedConfig(
            text_config=text | {"global_head_dim": 8}, vision_config=vision, audio_config={"audio_embed_dim": 16}, **ids
        )

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        frames = {"patch_size": 4, "pooling_kernel_size": 2, "max_soft_tokens": 70}
        return transformers.Gemma4UnifiedProcessor(
            transformers.Gemma4UnifiedAudioFeatureExtractor(),
            transformers.Gemma4UnifiedImageProcessor(**frames),
            tokenizer,
            transformers.Gemma4UnifiedVideoProcessor(**frames, num_frames=8),
            chat_template=base.processor(tokenizer).chat_template,
        )

    return Family("gemma4_unified", base.tokenizer, config, processor)


def _cosmos3_edge() -> Family:
    """Its processor replaces the marks around the clip's token too, and returns types of tokens only on request."""

    def config(tokenizer: PreTrainedTokenizerFast) -> Any:
        vision = {
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "patch_size": 8, "num_patches": 16,
        }  # fmt: skip
        text = text_settings(tokenizer, rope_parameters=dict(MROPE))
        return transformers.Cosmos3EdgeConfig(
            text_config=text, vision_config=vision, projector_hidden_size=24, **qwen_ids(tokenizer)
        )

    def processor(tokenizer: PreTrainedTokenizerFast) -> Any:
        size = {"shortest_edge": 16 * 16 * 4, "longest_edge": 32 * 32 * 8}
        return transformers.Cosmos3EdgeProcessor(
            transformers.Cosmos3EdgeImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096}),
            tokenizer,
            transformers.Cosmos3EdgeVideoProcessor(patch_size=8, size=size, fps=2, max_frames=16),
            chat_template=chatml(QWEN_VIDEO, QWEN_IMAGE),
        )

    return Family("cosmos3_edge", qwen_tokenizer, config, processor)


_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_GLM_EXPERTS = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1,
    "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
}  # fmt: skip
_LINEAR = {
    "layer_types": ["linear_attention", "linear_attention", "full_attention"], "linear_num_key_heads": 2,
    "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip

MORE_FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _qwen2_vl(),
        _qwen3("qwen3_vl_moe", "Qwen3VLMoeConfig", _EXPERTS, {"deepstack_visual_indexes": [0, 2]}),
        _qwen3("qwen3_vl_flat", "Qwen3VLConfig", {}, {"deepstack_visual_indexes": []}),
        _qwen3("qwen3_5", "Qwen3_5Config", _LINEAR, {}),
        _glm("glm4v", "Glm4vConfig", {}),
        _glm("glm4v_moe", "Glm4vMoeConfig", _GLM_EXPERTS),
        _glm("glm46v", "Glm46VConfig", {"model_type": "glm4v_moe_text"} | _GLM_EXPERTS),
        _llava_next_video(),
        _video_llava(),
        _gemma4(),
        _gemma4_unified(),
        _cosmos3_edge(),
        _ernie4_5_vl(),
    )
}

EVERY_FAMILY = FAMILIES | MORE_FAMILIES
