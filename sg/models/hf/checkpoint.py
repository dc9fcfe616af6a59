"""Loads models and processors of transformers. Everything that this program cannot use is refused in one sentence."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from sg.artefacts.checkpoint import check_stage_files
from sg.core.errors import MissingInputError, ModelError
from sg.models.kept_adapters import add_kept_adapters
from sg.models.untrusted import check_config, check_size
from sg.models.weight_files import checkpoint_files

_FILES = {
    "processor": ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
    "tokenizer": (
        "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
        "tekken.json",
    ),
}  # fmt: skip
"""Files of which a checkpoint has at least one: without a vocabulary, transformers makes an empty tokenizer."""


def load_config(folder: Path, label: str) -> PreTrainedConfig:
    """The config of a model that takes videos.

    Raises:
        MissingInputError: the folder has no config.json.
        ModelError: transformers does not know the model, or it takes no images.
    """
    if not (folder / "config.json").is_file():
        raise MissingInputError(f"{label} has no config.json: it is not the folder of a model of transformers.")
    with _one_sentence(label):
        settings, _ = PreTrainedConfig.get_config_dict(folder)
        check_config(settings, label)
        return _checked(settings, partial(AutoConfig.from_pretrained, folder, trust_remote_code=False), label)


def described_config(settings: Mapping[str, Any], label: str) -> PreTrainedConfig:
    """The config that `model.architecture` describes, for plans.

    Raises:
        ModelError: it describes no model that takes videos.
    """
    with _one_sentence(label):
        given = {key: value for key, value in settings.items() if key != "model_type"}
        return _checked(settings, lambda: AutoConfig.for_model(settings["model_type"], **given), label)


def _checked(settings: Mapping[str, Any], build: Any, label: str) -> PreTrainedConfig:
    kind = settings.get("model_type")
    if kind not in CONFIG_MAPPING:
        wanted = "its own code (auto_map), which is never run: " if settings.get("auto_map") else ""
        raise ModelError(
            f"{label} has model_type={kind!r} in its config.json and needs {wanted or 'code for it, but '}transformers "
            f"{transformers_version} does not know that model."
        )
    config: PreTrainedConfig = build()
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or config.is_encoder_decoder:
        raise ModelError(
            f"{label} is a {kind} model, which takes text only or writes none: model=hf needs a video language model "
            "that AutoModelForImageTextToText loads."
        )
    return config


def check_folder(folder: Path, label: str) -> PreTrainedConfig:
    """The config of a folder whose weight files are whole and can hold the model that it describes.

    Raises:
        MissingInputError: a file is missing.
        ModelError: the config describes another model, or none.
        DataError: a file of a stage checkpoint differs from what was written.
    """
    check_stage_files(folder)
    config = load_config(folder, label)
    checkpoint_files(folder)
    check_size(partial(_built, config), config.to_dict(), folder, label)
    return config


def skeleton(config: PreTrainedConfig, label: str, dtype: str = "float32") -> PreTrainedModel:
    """The model of a config without weights, on PyTorch's meta device."""
    with torch.device("meta"), _one_sentence(label):
        model = _built(config)
        model.to(getattr(torch, dtype))
        return model


def load_processor(folder: Path, label: str) -> Any:
    """The processor of a model that takes videos.

    Raises:
        MissingInputError: a package or a file of the processor is missing.
        ModelError: the processor takes no video.
    """
    if find_spec("torchvision") is None:
        raise MissingInputError("model=hf needs torchvision and num2words: `pip install -e '.[hf]'`.")
    for part, names in _FILES.items():
        if not any((folder / name).is_file() for name in names):
            raise MissingInputError(
                f"{label} has no {part} ({names[0]}): copy the files of the {part} from the model that this one was "
                "trained from."
            )
    with _one_sentence(label):
        loader: Any = AutoProcessor
        processor = loader.from_pretrained(folder, trust_remote_code=False)
    if getattr(processor, "video_processor", None) is None or not getattr(processor, "video_token", None):
        raise ModelError(f"{label} has a processor ({type(processor).__name__}) that takes no video.")
    return processor


def load_model(folder: Path, dtype: str, label: str) -> PreTrainedModel:
    """The model of a folder in evaluation mode.

    Raises:
        MissingInputError: a weight file is missing.
        ModelError: the model cannot be loaded, or lacks weights.
        DataError: a file of a stage checkpoint differs from what was written.
    """
    check_folder(folder, label)
    with _one_sentence(label):
        loader: Any = AutoModelForImageTextToText
        model, info = loader.from_pretrained(
            folder, dtype=getattr(torch, dtype), output_loading_info=True, trust_remote_code=False
        )
    if info["missing_keys"]:  # transformers would initialise them at random and continue
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{label} lacks {len(missing)} of the model's weights, first {missing[0]}.")
    add_kept_adapters(model, folder)
    loaded: PreTrainedModel = model.eval()
    return loaded


def _built(config: PreTrainedConfig) -> PreTrainedModel:
    loader: Any = AutoModelForImageTextToText  # untyped in transformers
    model: PreTrainedModel = loader.from_config(config, trust_remote_code=False)
    return model


@contextmanager
def _one_sentence(label: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError) as error:
        raise MissingInputError(f"{label} cannot be loaded: {_first_line(error)}") from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        StrictDataclassError,
        SafetensorError,
    ) as error:
        raise ModelError(f"{label} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
