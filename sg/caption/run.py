"""Captioning a whole manifest."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sg.artefacts.captions import CaptionRecord, write_captions
from sg.artefacts.manifest import Manifest, read_manifest
from sg.artefacts.tables import read_info
from sg.caption.captioners import Captioner, build_captioner
from sg.caption.config import CaptionerConfig, ChatUniViCaptionerConfig, ImportedCaptionerConfig
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import DataError, MissingInputError
from sg.core.files import file_lock
from sg.core.fingerprints import fingerprint
from sg.core.progress import track
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

log = logging.getLogger(__name__)


def caption_videos(
    data: DataConfig, captioner: CaptionerConfig, manifest_path: Path | None = None, out_path: Path | None = None
) -> Path:
    """Write a caption for every usable video of the data, or leave the captions that are there; gives their path.

    `manifest_path` defaults to the data's own manifest, which is made when it is missing, `out_path` to the place of
    this captioner's captions. Captions are made again when the manifest or the captioner changed.

    Raises:
        MissingInputError: there is no manifest.
        DataError: no video got a caption.
    """
    if isinstance(captioner, (HostedCaptionerConfig, ImportedCaptionerConfig)):
        return _existing(data, captioner)
    if isinstance(captioner, ChatUniViCaptionerConfig):
        from sg.caption.local.chat_univi import caption_manifest

        return caption_manifest(data, captioner)
    manifest = read_manifest(manifest_path or make_manifest(data))
    path = out_path or data.captions_path(captioner.name)
    writer = build_captioner(captioner)
    made_by = fingerprint([manifest.content_hash, writer.model, writer.model_version, dict(writer.parameters)])
    with file_lock(path.with_suffix(".lock")):
        if read_info(path).get("fingerprint") == made_by:
            return path
        info = {"fingerprint": made_by, "captioner": captioner.name, "manifest": manifest.content_hash}
        rows = list(_captions(manifest, writer))
        if not rows:
            raise DataError(
                f"None of the {len(manifest.usable())} usable videos of data={data.name} has a caption: give them with "
                "data.captions=FILE, or choose another captioner."
            )
        write_captions(path, rows, info)
    log.info("captions: %d of %d usable videos (captioner %s)", len(rows), len(manifest.usable()), captioner.name)
    return path


def _existing(data: DataConfig, captioner: CaptionerConfig) -> Path:
    """Captions that only a command of their own makes, because they cost money or come from a file."""
    path = data.captions_path(captioner.name)
    if path.is_file():
        return path
    if isinstance(captioner, HostedCaptionerConfig):
        raise MissingInputError(
            f"There are no captions {path}: python -m sg.caption data={data.name} captioner={captioner.kind} buys them "
            "(see first what they cost, with dry_run=true)."
        )
    raise MissingInputError(
        f"There are no captions {path}: python -m sg.caption import data={data.name} source=FILE reads a published "
        "file."
    )


def _captions(manifest: Manifest, writer: Captioner) -> Iterator[CaptionRecord]:
    usable = manifest.usable()
    parameters = json.dumps(dict(writer.parameters), sort_keys=True)
    for record in track(usable.records(), "captions", "videos", total=len(usable)):
        written = writer.write(record)
        if written.caption.strip():
            yield CaptionRecord(
                video_id=record.video_id,
                caption=written.caption,
                model=writer.model,
                model_version=writer.model_version,
                parameters=parameters,
                input_tokens=written.input_tokens,
                output_tokens=written.output_tokens,
                cost_usd=written.cost_usd,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                quality_flags=written.quality_flags,
            )
