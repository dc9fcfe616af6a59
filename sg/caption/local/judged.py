"""captioner=judged: the captions of any captioner whose judged scores are high enough."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sg.artefacts.captions import CAPTIONS_FILE, read_captions, write_captions
from sg.artefacts.judged import SCORES, judged_content, read_scores
from sg.artefacts.manifest import Manifest, read_manifest
from sg.artefacts.tables import read_info
from sg.caption.captioners import CAPTIONERS, Captioner, CaptionerConfig, captions_info, of_manifest
from sg.core.errors import ConfigError, DataError
from sg.core.files import file_lock
from sg.core.identity import NOT_IDENTITY, Identity, identity
from sg.core.mistakes import check_choice
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)

JUDGED_VERSION = 1
"""Raised when the same captions and scores would pass another selection."""


@dataclass
class JudgedCaptionerConfig(CaptionerConfig):
    """The captions that a judge finds good enough.

    Attributes:
        judged: the file that `python -m sg.caption judge` wrote beside the captions.
        min_scores: lowest score by name (precision, recall, f1, alignment); a caption needs all that are not null.
    """

    name: str = field(default="judged", metadata=NOT_IDENTITY)
    judged: str = field(default="???", metadata={"identity": judged_content})
    min_scores: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.min_scores = dict(self.lowest)
        for score in self.min_scores:
            check_choice("captioner.min_scores", score, SCORES)
        if not self.min_scores:
            raise ConfigError("captioner.min_scores={} lets every caption pass: give one, such as {precision: 0.9}.")

    @property
    def lowest(self) -> dict[str, float]:
        """The scores that count."""
        return {name: least for name, least in self.min_scores.items() if least is not None}


@CAPTIONERS.register("judged", JudgedCaptionerConfig)
class JudgedCaptioner(Captioner):
    """A gate behind the judge: captions below a score, or without it, are left out and counted."""

    config: JudgedCaptionerConfig

    @property
    def recipe(self) -> Identity:
        """The lowest scores, the judged file and the captions beside it, by content."""
        inputs = {"captions": read_captions(self._source).content_hash} if self._source.is_file() else {}
        return identity("captions", settings=self.config, inputs=inputs, version=JUDGED_VERSION)

    @property
    def _source(self) -> Path:
        return Path(self.config.judged).with_name(CAPTIONS_FILE)

    def identity_of(self, manifest: Manifest) -> Identity:
        """What decides the captions of a manifest."""
        return of_manifest(self.recipe, manifest.content_hash)

    def captions(self, data: DataConfig) -> Path:
        """Write the captions of usable videos that have every score of `min_scores`.

        Raises:
            MissingInputError: there are no captions, or they have not been judged.
            DataError: the captions have changed since.
            DataError: none passes.
        """
        manifest = read_manifest(make_manifest(data))
        scores, captions = self._scores(), read_captions(self._source)
        if read_info(Path(self.config.judged)).get("captions") not in (None, captions.content_hash):
            raise DataError(
                f"{self.config.judged} judged other captions than those that {self._source} holds now: judge these "
                "(python -m sg.caption judge)."
            )
        work = self.identity_of(manifest)
        with file_lock(data.captions_path(self.config.name).with_suffix(".lock")):
            path = self.place(data, for_writing=True)
            if read_info(path).get("fingerprint") == work.name:
                return path
            usable, least = set(manifest.usable().video_ids), self.config.lowest
            known = [row for row in captions.records() if row.video_id in usable]
            kept = [
                row
                for row in known
                if all(scores[name].get(row.video_id, float("-inf")) >= low for name, low in least.items())
            ]
            wanted = ", ".join(f"{name} {low:g}" for name, low in least.items())
            if not kept:
                raise DataError(f"None of the {len(known)} captions in {self._source} reaches {wanted}.")
            write_captions(path, kept, captions_info(work, self.recipe, self.config.name, manifest.content_hash))
        log.info("captions: %d of %d reach %s", len(kept), len(known), wanted)
        return path

    def _scores(self) -> Mapping[str, Mapping[str, float]]:
        return {name: read_scores(Path(self.config.judged), name) for name in self.config.lowest}
