"""An image-text model as a judge: how well the frames of a video fit its caption and each claim (CLIP, SigLIP).

The score is the cosine of a text's vector with those of frames, as in CLIPScore (Hessel et al. 2021, arXiv 2104.08718)
without its factor. A caption is compared with the mean of the frames' unit vectors, a claim with the frame that fits it
best, because it may be true of one moment only. Scores of one model compare with each other, those of two models do
not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg.artefacts.judged import UNCLEAR, JudgedCaption
from sg.artefacts.manifest import Manifest, video_path
from sg.core.errors import DataError, ModelError, first_line
from sg.core.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

NAME = "alignment"
FAMILIES = ("clip", "siglip", "siglip2")
FRAMES = 8
"""Frames per video, from the middles of equal segments."""
_KEY = "alignment"


class ImageTextModel:
    """A CLIP or SigLIP model with its tokenizer and picture processor, from a folder or the model hub.

    Raises:
        MissingInputError: there is no such model.
        ModelError: it is another kind of model, or cannot be loaded.
    """

    def __init__(self, checkpoint: str) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoTokenizer

        from sg.models.hub_files import checkpoint_folder

        folder = checkpoint_folder(checkpoint, _KEY)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = _load(folder).to(self._device).eval()
        load_tokenizer: Any = AutoTokenizer
        load_pictures: Any = AutoImageProcessor
        try:
            self._tokenizer = load_tokenizer.from_pretrained(folder, trust_remote_code=False)
            self._pictures = load_pictures.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder} lacks a tokenizer or a picture processor: {first_line(error)}") from error
        config = self._model.config
        self._has_mask = config.model_type == "clip"  # SigLIP learned from texts padded to the full length, without one
        self.max_tokens = int(config.text_config.max_position_embeddings)

    def is_cut(self, text: str) -> bool:
        """Whether the text is longer than the model reads."""
        return len(self._tokenizer(text.lower())["input_ids"]) > self.max_tokens

    def scores(self, frames: NDArray[np.uint8], caption: str, claims: Sequence[str]) -> tuple[float, list[float]]:
        """The cosine of the caption with the frames uint8 [T, H, W, 3], and that of each claim with its best frame."""
        import torch
        from torch.nn.functional import normalize

        # SigLIP 2 learned from lower case; the tokenizers of the other families ignore case.
        texts = [text.lower() for text in (caption, *claims)]
        settings = {"padding": "max_length", "truncation": True, "max_length": self.max_tokens, "return_tensors": "pt"}
        tokens = self._tokenizer(texts, **settings).to(self._device)
        names = ("input_ids", "attention_mask") if self._has_mask else ("input_ids",)
        pictures = self._pictures(images=list(frames), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            seen = normalize(self._model.get_image_features(**pictures).pooler_output.float(), dim=-1)  # [T, d]
            said = self._model.get_text_features(**{name: tokens[name] for name in names if name in tokens})
            unit = normalize(said.pooler_output.float(), dim=-1)  # [1 + claims, d]
            whole = normalize(seen.mean(0), dim=-1) @ unit[0]
            best = (unit[1:] @ seen.T).amax(1)
        return float(whole), best.tolist()


def _load(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel, PreTrainedConfig
    from transformers.utils import logging as messages

    from sg.models.untrusted import check_config, check_size

    quiet: Any = messages
    quiet.disable_progress_bar()
    loader: Any = AutoModel
    try:
        settings, _ = PreTrainedConfig.get_config_dict(folder)
        check_config(settings, str(folder))
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if config.model_type not in FAMILIES:
            raise ModelError(
                f"{_KEY}={folder} is a model of type {config.model_type!r}: expected one with a picture and a text "
                f"part, {', '.join(FAMILIES)}."
            )
        check_size(lambda: loader.from_config(config), config.to_dict(), folder, str(folder))
        model, report = loader.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{_KEY}={folder} cannot be loaded: {first_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{_KEY}={folder} lacks {len(missing)} weights, first {missing[0]}.")
    return model


def judge_with_model(
    checkpoint: str,
    captions: Mapping[str, str],
    claims: Mapping[str, Sequence[str]],
    manifest: Manifest,
    videos: Path,
    journal: Path,
    made_by: str,
) -> list[JudgedCaption]:
    """The alignment of captions and claims with their videos; videos that cannot be read are left out and logged.

    Args:
        checkpoint: folder of the model, or OWNER/REPOSITORY.
        captions: by video id.
        claims: by video id.
        manifest: the videos; ids that it lacks are left out.
        videos: folder of the video files.
        journal: keeps finished rows of an unfinished run, one JSON line each.
        made_by: names captions and model; rows of the journal with another name are not used.
    """
    known = {record.video_id: record for record in manifest.usable().records() if record.video_id in captions}
    rows = {row.video_id: row for row in _kept(journal, made_by)}
    missing = [name for name in captions if name in known and name not in rows]
    if missing:
        model, cut = ImageTextModel(checkpoint), 0
        journal.parent.mkdir(parents=True, exist_ok=True)
        with journal.open("a") as stream, Progress("alignment", len(known), "captions", done_before=len(rows)) as bar:
            for name in missing:
                row = _scored(model, video_path(videos, known[name]), name, captions[name], claims[name], log.warning)
                if row is None:
                    bar.fail()
                    continue
                cut += model.is_cut(captions[name])
                rows[name] = row
                scores = [row.alignment, *row.claim_alignments]
                stream.write(json.dumps([made_by, name, list(row.claims), scores]) + "\n")
                stream.flush()
                bar.advance()
        if cut:
            log.warning(
                "%d of %d captions are longer than the %d tokens that the model reads: it has judged their beginnings",
                *(cut, len(missing), model.max_tokens),
            )
    return [rows[name] for name in captions if name in rows]


def _scored(
    model: ImageTextModel, path: Path, name: str, caption: str, claims: Sequence[str], say: Callable[[str], None]
) -> JudgedCaption | None:
    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    try:
        frames = read_frames(path, MiddleOfSegments(FRAMES)).frames
    except DataError as error:
        say(f"alignment: {name} is left out: {error}")
        return None
    return _row(name, claims, *model.scores(frames, caption, claims))


def _row(name: str, claims: Sequence[str], whole: float, each: Sequence[float]) -> JudgedCaption:
    unclear = (UNCLEAR,) * len(claims)
    return JudgedCaption(name, NAME, tuple(claims), unclear, alignment=whole, claim_alignments=tuple(each))


def _kept(journal: Path, made_by: str) -> Iterator[JudgedCaption]:
    """The rows of an earlier run on the same captions with the same model; an incomplete last line is cut off."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with journal.open("r+b") as stream:
            stream.truncate(len(whole))
    for line in whole.splitlines():
        by, name, claims, scores = json.loads(line)
        if by == made_by:
            yield _row(name, claims, scores[0], scores[1:])
