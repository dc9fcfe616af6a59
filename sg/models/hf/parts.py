"""Which modules of a model of transformers are the vision tower, the connector and the language model.

They are found by the names that transformers uses (`get_encoder`, `get_decoder`). Whatever lies beside the two is the
connector, and so are the modules inside the tower that turn its output into visual tokens.
"""

import re
from collections.abc import Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from sg.core.errors import ModelError
from sg.models.hf.language import LanguageModel
from sg.models.student import CONNECTOR, LANGUAGE_MODEL, PARTS, VISION

_CONNECTORS = re.compile(r"merger|projector|projection_layer|connector|adapter|aligner|resampler|newline|downsample")
"""Names of modules in a tower that belong to the connector."""
_TOWERS = re.compile(r"(tower|(vision|visual|image|video)_?(model|encoder))$")
"""Names of further towers."""


def find_parts(language: LanguageModel, given: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """For each part the names of its modules; a module of another part inside one of them has the longer name.

    Args:
        given: names that replace those that are found, by part.

    Raises:
        ModelError: a part is empty or a name unknown.
    """
    model, names = language.model, {id(module): name for name, module in language.model.named_modules()}
    tower = _tower(language)
    parts = {VISION: [] if tower is None else [names[id(tower)]], LANGUAGE_MODEL: [names[id(language.decoder)]]}
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers'
    if head is not None:
        parts[LANGUAGE_MODEL].append(names[id(head)])
    children = () if tower is None else tower.named_children()
    inside = [f"{parts[VISION][0]}.{name}" for name, _ in children if _CONNECTORS.search(name)]
    beside = _beside(model, [*parts[VISION], *parts[LANGUAGE_MODEL]])
    parts[VISION] += [name for name in beside if _TOWERS.search(name)]
    parts[CONNECTOR] = [*[name for name in beside if not _TOWERS.search(name)], *inside]
    for part, modules in (given or {}).items():
        parts[part] = list(modules)
    known = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    unknown = [f"{part}: {name}" for part in PARTS for name in parts[part] if name not in known]
    if unknown:
        raise ModelError(f"{language.label} has no module {unknown[0]}: correct model.parts.")
    return {part: parts[part] for part in PARTS}


def _tower(language: LanguageModel) -> nn.Module | None:
    """The vision tower; None in a model that gives patches to its connector, without a tower."""
    tower = language.model.get_encoder(modality="image")
    if tower is None or tower in (language.model, language.model.base_model):
        return None
    assert isinstance(tower, nn.Module)
    return tower


def _beside(model: PreTrainedModel, taken: Sequence[str]) -> list[str]:
    """The largest modules and single weights that contain none of the modules `taken`, and lie in none of them."""

    def overlaps(name: str) -> bool:
        return any(name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in taken)

    found: list[str] = []
    for name, _ in model.named_parameters():
        steps = name.split(".")
        largest = next(
            (path for path in (".".join(steps[:depth]) for depth in range(1, len(steps) + 1)) if not overlaps(path)),
            None,
        )
        if largest is not None and largest not in found:
            found.append(largest)
    return found


def find_blocks(model: PreTrainedModel) -> list[str]:
    """Names of the modules that are not split over devices, the layers of language model and tower."""
    kinds = set(model._no_split_modules or ())
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            kinds |= set(module._no_split_modules or ())
    found: list[str] = []
    for name, module in model.named_modules():
        is_layer = type(module).__name__ in kinds and any(value.numel() for value in module.parameters())
        if is_layer and not any(name.startswith(f"{other}.") for other in found):
            found.append(name)
    return found
