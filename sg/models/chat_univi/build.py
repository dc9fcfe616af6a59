"""Builds a model, its dialog encoder and its frame processor from settings."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from sg.artefacts.checkpoint import check_stage_files
from sg.core.errors import MissingInputError, ModelError
from sg.core.files import read_json
from sg.models.chat_univi.config import ChatUniViConfig
from sg.models.chat_univi.inputs import ChatUniViInputs
from sg.models.chat_univi.modeling import ChatUniViForConditionalGeneration
from sg.models.chat_univi.processor import ChatUniViProcessor
from sg.models.chat_univi.published.checkpoint import load_projector, load_reference_checkpoint, reference_config
from sg.models.chat_univi.settings import ModelConfig
from sg.models.chat_univi.sizes import plain_config
from sg.models.chat_univi.text.chat_conversation import ChatDialogEncoder
from sg.models.chat_univi.text.chat_formats import VICUNA_V1
from sg.models.chat_univi.text.conversation import DialogEncoder
from sg.models.hub_files import local_path
from sg.models.kept_adapters import add_kept_adapters
from sg.models.untrusted import check_config, check_size
from sg.video.sampling import OneFps

CLIP = "clip_vision_model"
TOKENIZER_FILES = ["tokenizer.model", "tokenizer.json", "tokenizer_config.json"]


def build_model(config: ModelConfig, seed: int = 0) -> ChatUniViForConditionalGeneration:
    """The model before its first stage, or the whole `checkpoint`, in evaluation mode; `seed` is of a new projector.

    Raises:
        MissingInputError: a part is neither on this machine nor on the hub.
        ModelError: a part is damaged or does not fit.
    """
    if config.checkpoint is not None:
        model = load_checkpoint(config.checkpoint, config.dtype)
        _check_merging(config, model.config)
        return model
    assert config.language_model is not None and config.vision_tower is not None  # checked by the schema
    dtype = getattr(torch, config.dtype)
    language_model = _pretrained(AutoModelForCausalLM, config.language_model, "model.language_model", dtype)
    tower = _pretrained(AutoModel, config.vision_tower, "model.vision_tower", dtype)
    tower = getattr(tower, "vision_model", tower)
    model = assemble(language_model, tower, composite_config(config, language_model.config, tower.config), seed)
    if config.projector is not None:
        load_projector(model, _required(config.projector, "model.projector"))
    model.train(False)
    return model


def blank_model(config: ModelConfig) -> ChatUniViForConditionalGeneration:
    """The model on PyTorch's meta device, from config files or the names of well-known parts.

    Raises:
        MissingInputError: a config is not on this machine, and its model is not known by name.
    """
    if config.checkpoint is not None:
        whole = _plain(config.checkpoint)
        text, tower = whole.get("text_config", whole), whole.get("vision_config") or _plain(whole["mm_vision_tower"])
    else:
        text, tower = _plain(config.language_model), _plain(config.vision_tower)
    tower = tower.get("vision_config", tower)
    parts = [AutoConfig.for_model(**{"model_type": kind} | plain) for kind, plain in (("llama", text), (CLIP, tower))]
    with torch.device("meta"):
        model = ChatUniViForConditionalGeneration(composite_config(config, *parts))
        model.to(getattr(torch, config.dtype))
    model.set_language_model(model.model)
    return model


def _plain(name: str | None) -> dict[str, Any]:
    found = None if name is None else plain_config(name)
    if found is None:
        raise MissingInputError(f"The config of {name} is not on this machine: hf download {name} config.json.")
    return found


def composite_config(config: ModelConfig, text: PreTrainedConfig, vision: PreTrainedConfig) -> ChatUniViConfig:
    """The config of the whole model: those of its parts, and the settings of the merging."""
    return ChatUniViConfig(
        text_config=text,
        vision_config=vision,
        vision_select_layer=config.select_layer,
        spatial_clusters=list(config.spatial_clusters),
        spatial_neighbours=list(config.spatial_neighbours),
        temporal_cluster_rate=config.temporal_cluster_rate,
        temporal_neighbours=config.temporal_neighbours,
        min_temporal_neighbours=config.min_temporal_neighbours,
        max_frames=config.max_frames,
        image_aspect_ratio=config.image_aspect_ratio,
    )


def assemble(
    language_model: PreTrainedModel, tower: PreTrainedModel, config: ChatUniViConfig, seed: int
) -> ChatUniViForConditionalGeneration:
    """The composite of a causal language model and a vision tower, with a new projector drawn from `seed`."""
    # On the meta device, because all parts are replaced below: no memory is used for weights.
    with torch.device("meta"):
        model = ChatUniViForConditionalGeneration(config)
    model.set_language_model(language_model.model)
    model.lm_head = language_model.lm_head
    model.vision_tower.vision_tower = tower.requires_grad_(False)
    projector = new_projector(config.vision_config.hidden_size, config.text_config.hidden_size, seed)
    model.mm_projector = projector.to(language_model.lm_head.weight.dtype)
    model.generation_config = _greedy(language_model)
    return model


def new_projector(width: int, model_width: int, seed: int) -> nn.Linear:
    """A linear layer with PyTorch's initialisation, as in the reference; depends only on `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, model_width)


def load_checkpoint(name: str, dtype: str = "float32") -> ChatUniViForConditionalGeneration:
    """A whole model in evaluation mode, from a folder in our or the published layout, or from the hub.

    Raises:
        MissingInputError: it is neither on this machine nor on the hub.
        ModelError: a file is damaged, or weights are missing.
        DataError: a file of a stage checkpoint differs from what was written.
    """
    path = local_path(name) or _download(name)
    check_stage_files(path)
    if _is_ours(path):
        model: ChatUniViForConditionalGeneration = _pretrained(
            ChatUniViForConditionalGeneration, str(path), "model.checkpoint", getattr(torch, dtype)
        )
        add_kept_adapters(model, path)
        return model
    return load_reference_checkpoint(path, dtype=getattr(torch, dtype))


def build_encoder(config: ModelConfig, max_length: int = 2048) -> DialogEncoder:
    """The dialog encoder with the model's tokenizer, chat format and system prompt.

    A SentencePiece `tokenizer.model` has precedence over a `tokenizer.json`, because it gives the ids of the reference.

    Raises:
        MissingInputError: there is no tokenizer.
        ModelError: it cannot be read, or does not fit the chat format.
    """
    source = config.tokenizer or config.checkpoint or config.language_model
    assert source is not None  # checked by the schema
    path = local_path(source) or _download(source, TOKENIZER_FILES)
    if path.is_dir() and not (path / "tokenizer.model").is_file() and (path / "tokenizer.json").is_file():
        return ChatDialogEncoder(path, config.chat_format, config.system_prompt, max_length)
    if config.chat_format != VICUNA_V1:
        raise ModelError(f"model.chat_format={config.chat_format} needs a tokenizer.json, which {path} does not hold.")
    return DialogEncoder(path / "tokenizer.model" if path.is_dir() else path, config.system_prompt, max_length)


def build_inputs(config: ModelConfig) -> ChatUniViInputs:
    """The dialog encoder, and the frame processor with the tower's size and the settings' sampling and aspect.

    Raises:
        MissingInputError: the tokenizer, or the config of the tower or the checkpoint, is missing.
        ModelError: one of them is damaged.
    """
    sampling = OneFps(config.max_frames, config.target_fps)
    pictures = ChatUniViProcessor.of_tower(_tower_config(config), config.image_aspect_ratio, sampling)
    return ChatUniViInputs(build_encoder(config), pictures)


def _tower_config(config: ModelConfig) -> PreTrainedConfig:
    """The config of the vision tower; no weights are read."""
    if config.checkpoint is not None:
        folder = local_path(config.checkpoint) or _download(config.checkpoint, ["*config.json"])
        if not _is_ours(folder):
            tower = reference_config(folder).vision_config
        else:
            with _one_sentence(config.checkpoint, "model.checkpoint"):
                tower = ChatUniViConfig.from_pretrained(folder).vision_config
        assert isinstance(tower, PreTrainedConfig)
        return tower
    assert config.vision_tower is not None  # checked by the schema
    with _one_sentence(config.vision_tower, "model.vision_tower"):
        source = str(local_path(config.vision_tower) or config.vision_tower)
        whole: PreTrainedConfig = AutoConfig.from_pretrained(source, trust_remote_code=False)
    vision: PreTrainedConfig = getattr(whole, "vision_config", whole)
    return vision


def _is_ours(folder: Path) -> bool:
    """True for a checkpoint in our layout, False for the published one."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == ChatUniViConfig.model_type


def _pretrained(loader: Any, name: str, key: str, dtype: torch.dtype) -> Any:
    """`loader.from_pretrained` of a local folder or hub id, with one-sentence errors."""
    path, label = local_path(name), f"{key}={name}"
    source = str(path or name)
    with _one_sentence(name, key):
        settings, _ = PreTrainedConfig.get_config_dict(source)
        check_config(settings, label)
        if path is not None:
            check_size(partial(_skeleton, loader, source), settings, path, label)
        model, info = loader.from_pretrained(source, dtype=dtype, output_loading_info=True, trust_remote_code=False)
    if info["missing_keys"]:
        # transformers would initialise them at random and continue.
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{key}={name} lacks {len(missing)} of the model's weights, first {missing[0]}.")
    return model


@contextlib.contextmanager
def _one_sentence(name: str, key: str) -> Iterator[None]:
    """Raise the errors of transformers in the block as one sentence."""
    try:
        yield
    except OSError as error:
        raise MissingInputError(
            f"{key}={name} is neither a model on this machine nor one that can be downloaded."
        ) from error
    except (ValueError, RuntimeError, StrictDataclassError, SafetensorError) as error:
        raise ModelError(f"{key}={name} cannot be loaded: {str(error).splitlines()[0]}") from error


def _skeleton(loader: Any, source: str) -> nn.Module:
    if loader is ChatUniViForConditionalGeneration:
        return ChatUniViForConditionalGeneration(ChatUniViConfig.from_pretrained(source))
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    skeleton: nn.Module = loader.from_config(config, trust_remote_code=False)
    return skeleton


def _greedy(language_model: PreTrainedModel) -> Any:
    """The model's generation settings without its sampling defaults, which contradict each other in Vicuna."""
    settings = type(language_model.generation_config).from_model_config(language_model.config)
    settings.eos_token_id = language_model.generation_config.eos_token_id or settings.eos_token_id
    settings.pad_token_id = settings.pad_token_id if settings.pad_token_id is not None else 0
    return settings


def _check_merging(config: ModelConfig, found: ChatUniViConfig) -> None:
    """Check that the settings agree with the checkpoint, because they name the cache of visual tokens."""
    pairs = {
        "select_layer": found.vision_select_layer,
        "spatial_clusters": list(found.spatial_clusters),
        "spatial_neighbours": list(found.spatial_neighbours),
        "temporal_cluster_rate": found.temporal_cluster_rate,
        "temporal_neighbours": found.temporal_neighbours,
        "min_temporal_neighbours": found.min_temporal_neighbours,
    }
    for key, value in pairs.items():
        if getattr(config, key) != value:
            raise ModelError(
                f"model.{key}={getattr(config, key)}, but {config.checkpoint} was made with {value}: "
                f"set model.{key}={value}."
            )


def _required(name: str, key: str) -> Path:
    path = local_path(name)
    if path is None:
        raise MissingInputError(f"{key}={name} does not exist: give a file on this machine.")
    return path


def _download(name: str, patterns: list[str] | None = None) -> Path:
    """The local folder of a hub repository, which is downloaded if necessary."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise MissingInputError(
            f"{name} is neither a folder on this machine nor a model that can be downloaded."
        ) from error
