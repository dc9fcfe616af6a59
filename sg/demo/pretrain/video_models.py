"""Makes the demo's video models of published families: folders that transformers loads, for `model=hf`.

Tower and language model are those of the demo, or trained like them in the architecture of the family. The connector
is trained with the tower's labels: its visual tokens hold what a cell of a frame shows. The language model has never
read them. That is left to the study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.demo.pretrain.tokenizer import WHOLE_PIECES
from sg.demo.pretrain.tower import (
    GRID,
    PATCH,
    TowerRecipe,
    augmented,
    fit_patches,
    make_frames,
    normalise,
    patch_accuracies,
)
from sg.demo.render import SIZE
from sg.models.pixels import CLIP_MEAN, CLIP_STD

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

QWEN3_TEXT: dict[str, Any] = {
    "architecture": "qwen3", "steps": 300, "drill_steps": 0, "bare_steps": 0, "easy_steps": 0, "learning_rate": 2e-3,
    "other_learning_rate": 2e-3,
}  # fmt: skip
"""Recipe of the language model of the Qwen3-VL, which begins with the weights of the demo's Llama."""
FRAMES_PER_SCENE = 4
"""Frames of a scene of which the Qwen3-VL tower sees two at a time."""
_TEMPLATE = (
    "<s>{%- for m in messages -%}{%- if m.role == 'assistant' -%}{{ ' ASSISTANT: ' + m.content[0].text + '</s>' }}"
    "{%- else -%}{{ ' USER: ' if m.role == 'user' else ' ' }}{%- for c in m.content -%}"
    "{%- if c.type == 'video' -%}{{ 'VIDEO \\n' }}{%- elif c.type == 'image' -%}{{ 'IMAGE \\n' }}"
    "{%- else -%}{{ c.text }}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ ' ASSISTANT:' }}{%- endif -%}"
)
"""Renders a conversation to the ids of the lessons of `sg.demo.pretrain.texts`."""
_VISION_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_NORMALISATION: dict[str, Any] = {"image_mean": list(CLIP_MEAN), "image_std": list(CLIP_STD)}


def fast_tokenizer(model: Path, marks: tuple[str, ...]) -> Any:
    """The SentencePiece tokenizer as one of transformers that knows the places of tokens; `marks` are further ids."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = SentencePieceProcessor(model_file=str(model))
    vocabulary = {pieces.id_to_piece(number): number for number in range(pieces.get_piece_size())}
    # Pieces are numbered in the order of their merges. SentencePiece merges any two pieces that make one.
    merges = [
        (piece[:at], piece[at:])
        for piece in vocabulary
        for at in range(1, len(piece))
        if piece not in WHOLE_PIECES and piece[:at] in vocabulary and piece[at:] in vocabulary
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in ("<unk>", "<s>", "</s>", *marks)])
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in WHOLE_PIECES])
    made: Any = PreTrainedTokenizerFast  # untyped in transformers
    return made(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")


def _template(video: str, image: str) -> str:
    return _TEMPLATE.replace("VIDEO", video).replace("IMAGE", image)


def _qwen3_vl_processor(tokenizer: Any) -> Any:
    import transformers

    size = {"shortest_edge": SIZE * SIZE, "longest_edge": SIZE * SIZE * 64}
    processor: Any = transformers.Qwen3VLProcessor  # untyped in transformers
    return processor(
        transformers.Qwen2VLImageProcessor(patch_size=16, size=size, **_NORMALISATION),
        tokenizer,
        transformers.Qwen3VLVideoProcessor(
            size=size, fps=0.25, min_frames=2, max_frames=8, cap_pixels_per_frame=False, **_NORMALISATION
        ),
        chat_template=_template(*(f"{_VISION_MARKS[0]}{mark}{_VISION_MARKS[1]}" for mark in _VISION_MARKS[:1:-1])),
    )


def _llava_onevision_processor(tokenizer: Any) -> Any:
    import transformers

    size, pinpoints = {"height": SIZE, "width": SIZE}, [[SIZE, SIZE]]
    processor: Any = transformers.LlavaOnevisionProcessor  # untyped in transformers
    return processor(
        transformers.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints, **_NORMALISATION),
        tokenizer,
        transformers.LlavaOnevisionVideoProcessor(size=size, num_frames=8, **_NORMALISATION),
        num_image_tokens=16,
        vision_feature_select_strategy="full",  # the number above does not count the class token
        chat_template=_template("<video>", "<image>"),
    )


def qwen3_vl_recipe() -> TowerRecipe:
    """Training settings of tower and connector of the Qwen3-VL."""
    return TowerRecipe(clips=500, steps=800, batch_size=64, learning_rate=1.5e-3, muon=False)


def llava_onevision_recipe() -> TowerRecipe:
    """Training settings of the connector of the LLaVA-OneVision."""
    return TowerRecipe(clips=150, steps=250, muon=False)


def build_qwen3_vl(
    folder: Path, tokenizer: Path, tower: Any, language_model: Any, recipe: TowerRecipe
) -> dict[str, float]:
    """Write a Qwen3-VL into `folder`; returns held-out accuracies of its visual tokens.

    Args:
        tower: a CLIP of the demo; the new tower begins with its weights.
        language_model: a Qwen3.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    fast = fast_tokenizer(tokenizer, _VISION_MARKS)
    config = _qwen3_vl_config(fast, tower.config, language_model.config)
    model = _assembled(config, {"model.language_model": language_model.model}, recipe.seed)
    visual = model.model.visual
    _start_as_clip(visual, tower, make_frames(recipe.seed, 6)[0])
    ALL_ATTENTION_FUNCTIONS.register("same_size", _attention_in_images)
    visual.config._attn_implementation = "same_size"

    def features(pixels: Tensor) -> Tensor:
        """Visual tokens [B, 4, 2 * width] of both levels for pairs of frames [B, 2, 3, 64, 64]."""
        import torch

        half = GRID // 2
        patches = pixels.view(len(pixels), 2, 3, half, 2, PATCH, half, 2, PATCH).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        grid = torch.tensor([[1, GRID, GRID]]).expand(len(pixels), 3)
        patches = patches.reshape(len(pixels) * GRID**2, -1)
        found = visual(patches, grid_thw=grid, cu_seqlens=torch.tensor([0, len(patches)]))
        return torch.cat([found.pooler_output, *found.deepstack_features], -1).view(len(pixels), 4, -1)

    outputs = [visual.merger.linear_fc2, *(merger.linear_fc2 for merger in visual.deepstack_merger_list)]
    accuracies = _train_visual_tokens(visual, features, _pairs, outputs, model, recipe)
    return _written(folder, model, _qwen3_vl_processor(fast), accuracies)


def _qwen3_vl_config(fast: Any, tower: Any, text_model: PreTrainedConfig) -> PreTrainedConfig:
    from transformers import Qwen3VLConfig

    start, end, image, video = (fast.convert_tokens_to_ids(mark) for mark in _VISION_MARKS)
    text = _text_config(text_model, len(fast))
    rotary = {**text.pop("rope_parameters"), "mrope_section": [3, 3, 2], "mrope_interleaved": True}
    vision = {
        "depth": tower.num_hidden_layers - 1,  # the last one is not used
        "hidden_size": tower.hidden_size,
        "intermediate_size": tower.intermediate_size,
        "num_heads": tower.num_attention_heads,
        "hidden_act": tower.hidden_act,
        "out_hidden_size": text["hidden_size"],
        "patch_size": PATCH,
        "num_position_embeddings": GRID**2,
        "deepstack_visual_indexes": [1],
    }
    return Qwen3VLConfig(
        text_config={**text, "model_type": "qwen3_vl_text", "rope_parameters": rotary},
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=True,
    )


def _start_as_clip(visual: Any, tower: Any, frames: Tensor) -> None:
    """Copy the weights of a CLIP tower; its first norm and its class token have no place in a Qwen3-VL.

    The first norm divides by the standard deviation of a patch. Instead, the patches are divided by its mean.
    """
    import torch

    with torch.no_grad():
        scale = tower.pre_layrnorm.weight / tower.embeddings(normalise(frames))[:, 1:].std(-1).mean()
        kernel = tower.embeddings.patch_embedding.weight * scale.view(-1, 1, 1, 1)
        visual.patch_embed.proj.weight.copy_(kernel[:, :, None].expand(-1, -1, 2, -1, -1) / 2)
        visual.patch_embed.proj.bias.copy_(tower.pre_layrnorm.bias)
        visual.pos_embed.weight.copy_(tower.embeddings.position_embedding.weight[1:] * scale)
        for mine, layer in zip(visual.blocks, tower.encoder.layers, strict=False):
            attention = layer.self_attn
            inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
            for name in ("weight", "bias"):
                getattr(mine.attn.qkv, name).copy_(torch.cat([getattr(one, name) for one in inputs]))
            mine.attn.proj.load_state_dict(attention.out_proj.state_dict())
            mine.mlp.linear_fc1.load_state_dict(layer.mlp.fc1.state_dict())
            mine.mlp.linear_fc2.load_state_dict(layer.mlp.fc2.state_dict())
            mine.norm1.load_state_dict(layer.layer_norm1.state_dict())
            mine.norm2.load_state_dict(layer.layer_norm2.state_dict())


def _attention_in_images(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Attention within images of 16 patches for all images at once: [1, heads, B * 16, d] -> [1, B * 16, heads, d].

    transformers' own takes one image after the other.
    """
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v = (
        each[0].reshape(each.shape[1], -1, GRID**2, each.shape[-1]).transpose(0, 1) for each in (query, key, value)
    )
    return scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2).flatten(0, 1)[None], None


def build_llava_onevision(
    folder: Path, tokenizer: Path, tower: Any, language_model: Any, recipe: TowerRecipe
) -> dict[str, float]:
    """Write a LLaVA-OneVision of these parts into `folder`; returns held-out accuracies of its visual tokens."""
    from transformers import LlavaOnevisionConfig

    fast = fast_tokenizer(tokenizer, ("<image>", "<video>"))
    tower.encoder.layers = tower.encoder.layers[:-1]  # the last one is not used
    tower.config.num_hidden_layers -= 1
    config = LlavaOnevisionConfig(
        vision_config=tower.config.to_dict(),
        text_config=_text_config(language_model.config, len(fast)),
        image_token_index=fast.convert_tokens_to_ids("<image>"),
        video_token_index=fast.convert_tokens_to_ids("<video>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_grid_pinpoints=[[SIZE, SIZE]],
        tie_word_embeddings=True,
    )
    parts = {"model.vision_tower": tower, "model.language_model": language_model.model}
    model = _assembled(config, parts, recipe.seed)
    model.model.vision_tower.requires_grad_(False)

    def features(pixels: Tensor) -> Tensor:
        """Visual tokens [B, 4, width] for frames [B, 3, 64, 64]."""
        tokens: Tensor = model.model.get_video_features(pixels[None], return_dict=True).pooler_output[0, :-1]
        return tokens.view(len(pixels), 4, -1)

    connector = model.model.multi_modal_projector
    accuracies = _train_visual_tokens(connector, features, _singles, [connector.linear_2], model, recipe)
    return _written(folder, model, _llava_onevision_processor(fast), accuracies)


def _text_config(config: PreTrainedConfig, vocabulary_size: int) -> dict[str, Any]:
    return {**config.to_dict(), "vocab_size": vocabulary_size, "use_cache": True}


def _assembled(config: PreTrainedConfig, parts: dict[str, nn.Module], seed: int) -> Any:
    """A model with the weights of `parts`, by module name; the others are new."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(seed)
    loader: Any = AutoModelForImageTextToText  # untyped in transformers
    model = loader.from_config(config)
    for name, part in parts.items():
        for key, value in part.state_dict().items():
            model.get_submodule(name).get_parameter(key).data[: len(value)] = value  # the table of words has more rows
    return model


def _singles(frames: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` frames [count, 64, 64, 3], and the labels of their cells [count, 4, 7]."""
    import torch

    chosen = torch.randint(0, len(frames), (count,), generator=generator)
    return frames[chosen], _cells(labels[chosen])


def _pairs(frames: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` pairs of frames of one scene in sequence, [2 * count, 64, 64, 3], and the labels [count, 4, 7]."""
    import torch

    scenes = torch.randint(0, len(frames) // FRAMES_PER_SCENE, (count,), generator=generator) * FRAMES_PER_SCENE
    first = torch.randint(0, FRAMES_PER_SCENE - 1, (count,), generator=generator)
    last = first + 1 + (torch.rand(count, generator=generator) * (FRAMES_PER_SCENE - 1 - first)).long()
    return frames[torch.stack([scenes + first, scenes + last], 1).flatten()], _cells(labels[scenes])


def _cells(labels: Tensor) -> Tensor:
    """Labels of the four cells from those of the patches [B, 16, 7], which are equal within a cell."""
    return labels.view(len(labels), GRID, GRID, -1)[:, :: GRID // 2, :: GRID // 2].flatten(1, 2)


def _train_visual_tokens(
    trained: nn.Module,
    features: Callable[[Tensor], Tensor],
    choose: Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]],
    outputs: Sequence[Any],
    model: Any,
    recipe: TowerRecipe,
) -> dict[str, float]:
    """Train the visual side of a model with the labels of cells, then scale its tokens to the size of word vectors.

    Args:
        choose: draws frames and labels of a batch; several frames in sequence belong to one entry of the labels.
        outputs: the last linear layer of every level of visual tokens.
    """
    import torch

    def drawn(data: tuple[Tensor, Tensor], count: int, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        frames, labels = choose(*data, count, generator)
        pixels = change(normalise(frames))
        return pixels.view(count, -1, *pixels.shape[1:]) if len(pixels) > count else pixels, labels

    generator = torch.Generator().manual_seed(recipe.seed)
    data = make_frames(recipe.seed, recipe.clips, FRAMES_PER_SCENE)
    draw = partial(drawn, data, recipe.batch_size, lambda pixels: augmented(pixels, generator))
    width = model.config.text_config.hidden_size * len(outputs)
    head = fit_patches(trained, features, width, draw, recipe)
    new = make_frames(recipe.seed + 1, min(60, recipe.clips), FRAMES_PER_SCENE)
    pixels, labels = drawn(new, 500, lambda pixels: pixels)
    accuracies = patch_accuracies(features, head, pixels, labels)
    with torch.no_grad():
        words = model.get_input_embeddings().weight.pow(2).mean().sqrt()
        for output, level in zip(outputs, features(pixels).chunk(len(outputs), -1), strict=True):
            scale = words / level.pow(2).mean().sqrt()
            output.weight.mul_(scale)
            output.bias.mul_(scale)
    return accuracies


def _written(folder: Path, model: Any, processor: Any, accuracies: dict[str, float]) -> dict[str, float]:
    """Write a folder of transformers, with weights in half precision."""
    import torch

    processor.save_pretrained(folder)
    for part in (model.config.text_config, model.config.vision_config):
        part._name_or_path = ""  # a folder of this machine
    model.to(torch.float16).save_pretrained(folder)
    return accuracies
