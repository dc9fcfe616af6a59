"""The exports. The same captions give the same bytes: order, shards, time stamps and questions are fixed."""

import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sg.artefacts.captions import CaptionRecord, read_captions
from sg.artefacts.manifest import Manifest, VideoRecord, video_path
from sg.caption.cleaning import clean_caption
from sg.caption.exports.card import dataset_card
from sg.core.errors import DataError
from sg.core.files import atomic_dir, atomic_path, write_json, write_text
from sg.core.fingerprints import fingerprint, text_seed
from sg.core.places.ranges import exists, opened, size_of

SHARD_BYTES = 1_000_000_000
MEDIA_TOKEN = "<video>"


@dataclass(frozen=True, slots=True)
class ExportItem:
    """A caption and its video."""

    video: VideoRecord
    caption: CaptionRecord


def export(
    captions: Path,
    manifest: Manifest,
    videos: Path,
    out: Path,
    kind: str,
    ids: Sequence[str] | None = None,
    with_files: bool = False,
) -> str:
    """Write the captions in the format `kind`; returns a sentence with their number.

    Only videos whose file exists are exported: some trainers silently replace a missing video by a blank one. `ids`
    exports these videos only (a core), `with_files` puts the video files into the shards of a WebDataset.

    Raises:
        MissingInputError: there are no captions.
        DataError: there is nothing to export.
    """
    items, left_out = _items(captions, manifest, videos, ids)
    missing = 0 if ids is None else len(set(ids)) - len(items) - left_out
    if missing and not items:
        raise DataError(
            f"Nothing to export: none of the {len(set(ids or ())):,} videos of ids has a caption in {captions}."
        )
    if not items:
        raise DataError(f"Nothing to export: none of the captions of {captions} belongs to a video whose file exists.")
    writers = {"sharegemini": _sharegemini, "chat_univi": _chat_univi, "huggingface": _huggingface}
    if kind == "webdataset":
        _webdataset(items, videos, out, with_files)
    else:
        writers[kind](items, out)
    without = {"left out without a file": left_out, "of ids have no caption": missing}
    return f"{out}: {len(items):,} captions" + "".join(
        f", {count:,} {what}" for what, count in without.items() if count
    )


def question(video_id: str) -> str:
    """The question of a video's conversation: always the same for the same video."""
    choices = _questions()
    return choices[text_seed("question", video_id) % len(choices)]


@cache
def _questions() -> list[str]:
    return Path(__file__).with_name("questions.txt").read_text(encoding="utf-8").splitlines()


def _items(captions: Path, manifest: Manifest, videos: Path, ids: Sequence[str] | None) -> tuple[list[ExportItem], int]:
    rows = {row.video_id: row for row in read_captions(captions).records()}
    wanted = None if ids is None else set(ids)
    items, left_out = [], 0
    for video in manifest.usable().records():
        if video.video_id not in rows or (wanted is not None and video.video_id not in wanted):
            continue
        if exists(video_path(videos, video)):
            items.append(ExportItem(video, rows[video.video_id]))
        else:
            left_out += 1
    return items, left_out


def _conversation(item: ExportItem, **first: str) -> dict[str, Any]:
    # Cleaned again, because captions may come from elsewhere: a <video> inside a caption counts as a second video.
    text, _ = clean_caption(item.caption.caption)
    turns = [
        {"from": "human", "value": f"{MEDIA_TOKEN}\n{question(item.video.video_id)}"},
        {"from": "gpt", "value": text},
    ]
    return {**first, "id": item.video.video_id, "video": item.video.path, "conversations": turns}


def _write_array(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    write_text(path, f"[\n{lines}\n]\n")


def _sharegemini(items: list[ExportItem], out: Path) -> None:
    """The released layout: records of WebVid have `set`; a map from names to ids is written beside the file."""
    entries = (_conversation(item, **({"set": "webvid"} if item.video.source == "webvid" else {})) for item in items)
    _write_array(out, entries)
    names = {Path(item.video.path).stem: item.video.video_id for item in items}
    write_json(_name_map(out), names)


def _name_map(out: Path) -> Path:
    return out.with_name(f"{out.stem}_videoname2id.json")


def delete_export(out: Path) -> None:
    """Delete what `export` wrote."""
    if out.is_dir():
        shutil.rmtree(out)
    else:
        out.unlink()
        _name_map(out).unlink(missing_ok=True)


def _chat_univi(items: list[ExportItem], out: Path) -> None:
    """Conversations in the format of Chat-UniVi and LLaVA."""
    _write_array(out, (_conversation(item) for item in items))


def _webdataset(items: list[ExportItem], videos: Path, out: Path, with_files: bool) -> None:
    """Tar shards of about a gigabyte: `<key>.json` per video, and `<key>.mp4` if the files are included."""
    keys = _keys(items)
    with atomic_dir(out) as folder:
        for number, shard in enumerate(_shards(items, videos, with_files)):
            # Names of more than 100 bytes need the extended headers of this format.
            with tarfile.open(folder / f"{number:05d}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
                for item in shard:
                    key = keys[item.video.video_id]
                    _add(tar, f"{key}.json", json.dumps(_described(item), ensure_ascii=False, sort_keys=True).encode())
                    if with_files:
                        file = video_path(videos, item.video)
                        _add(tar, f"{key}{file.suffix.lower()}", opened(file).read())


def _keys(items: list[ExportItem]) -> dict[str, str]:
    """The key of each video, by its id: without a point, where WebDataset ends a key, and different for all videos."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for item in items:
        name = f"{item.video.source}_{item.video.video_id}"
        key = name.replace(".", "_").replace("/", "_")
        if key in taken:
            key += f"-{fingerprint(name)}"
        taken.add(key)
        keys[item.video.video_id] = key
    return keys


def _shards(items: list[ExportItem], videos: Path, with_files: bool) -> Iterator[list[ExportItem]]:
    shard: list[ExportItem] = []
    size = 0
    for item in items:
        shard.append(item)
        size += 2048 + (size_of(video_path(videos, item.video)) if with_files else 0)
        if size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.uid, member.gid, member.mode = len(data), 0, 0, 0, 0o644
    tar.addfile(member, io.BytesIO(data))


def _described(item: ExportItem) -> dict[str, Any]:
    caption, video = item.caption, item.video
    names = ("caption", "model", "model_version", "prompt_hash", "created_at")
    values = {name: getattr(caption, name) for name in names} | {"quality_flags": list(caption.quality_flags)}
    return {"video_id": video.video_id, "source": video.source, "path": video.path, "split": video.split, **values}


def _huggingface(items: list[ExportItem], out: Path) -> None:
    """A dataset folder: a card, and one Parquet file per source: mixed columns broke the viewer of the original."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("video_id", "source", "path", "split", "caption", "model", "model_version", "prompt_hash", "created_at")
    fields = [pa.field(name, pa.string()) for name in columns]
    fields += [pa.field("duration_s", pa.float64()), pa.field("quality_flags", pa.list_(pa.string()))]
    schema = pa.schema(fields)
    sources = sorted({item.video.source for item in items})
    with atomic_dir(out) as folder:
        for source in sources:
            chosen = [item for item in items if item.video.source == source]
            rows = [_described(item) | {"duration_s": item.video.duration_s} for item in chosen]
            path = folder / "data" / source / "train-00000-of-00001.parquet"
            path.parent.mkdir(parents=True)
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
        models = sorted({item.caption.model for item in items})
        write_text(folder / "README.md", dataset_card(sources, len(items), models))
        write_json(folder / "prompts.json", sorted({item.caption.prompt_hash for item in items}))
