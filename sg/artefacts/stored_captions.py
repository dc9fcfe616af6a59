"""Captions that stay in their file: ten million captions of 90 words take five gigabytes.

Ids are in memory. Texts are read for the videos that a step asks for, in one pass over the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sg.artefacts.captions import KIND, CaptionRecord, check_unique
from sg.artefacts.tables import ROWS_PER_BATCH, characters_of, lengths_of, record_schema, rows_of, scan_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_BYTES_AT_ONCE = 2**29
"""Text in memory while the hash is computed."""


class StoredCaptions:
    """The captions in the file at `path`.

    Raises:
        MissingInputError: there is no such file.
        DataError: the file has another format, or an id is repeated.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._path = path
        chunks = [chunk for part in self._scan("video_id") for chunk in part["video_id"].chunks]
        self._ids = pa.chunked_array(chunks, pa.string())
        check_unique(self._ids, path)

    def __len__(self) -> int:
        return len(self._ids)

    def among(self, videos: Sequence[str]) -> list[str]:
        """Those of `videos` that have a caption, in their order."""
        captioned = set(self._ids.to_pylist())
        return [video_id for video_id in videos if video_id in captioned]

    def texts(self, videos: Iterable[str]) -> dict[str, str]:
        """Captions by id, in the order of `videos`; without the videos that have none."""
        order = dict.fromkeys(videos, "")
        found: dict[str, str] = {}
        for part in self._scan("video_id", "caption"):
            rows = rows_of(part, order)
            found.update(zip(rows["video_id"].to_pylist(), rows["caption"].to_pylist(), strict=True))
        return {video_id: found[video_id] for video_id in order if video_id in found}

    def unique_among(self, videos: Sequence[str]) -> list[str]:
        """Those of `videos` whose caption no other one of them has, in their order."""
        import numpy as np
        import pyarrow as pa

        wanted, ids, digests = set(videos), [], [np.empty(0, np.uint64)]
        for part in self._scan("video_id", "caption"):
            rows = rows_of(part, wanted)
            ids += rows["video_id"].chunks
            hashes = b"".join(_digest(text) for text in rows["caption"].to_pylist())
            digests.append(np.frombuffer(hashes, np.uint64))
        del wanted
        _, kind, times = np.unique(np.concatenate(digests), return_inverse=True, return_counts=True)
        is_unique = pa.array(times[kind] == 1)
        unique = set(pa.chunked_array(ids, pa.string()).filter(is_unique).to_pylist())
        return [video_id for video_id in videos if video_id in unique]

    @cached_property
    def content_hash(self) -> str:
        """`Captions.content_hash` of the file."""
        import numpy as np
        import pyarrow.compute as pc

        order = pc.sort_indices(self._ids)
        lengths = np.concatenate([np.empty(0, "<i8"), *(lengths_of(chunk) for chunk in self._texts())])
        digest = hashlib.blake2b(b"video_id\x00", digest_size=16)
        ids = self._ids.take(order)
        for chunk in ids.chunks:
            digest.update(lengths_of(chunk).tobytes())
        for chunk in ids.chunks:
            digest.update(characters_of(chunk))
        digest.update(b"caption\x00" + lengths[order.to_numpy()].tobytes())
        for part in self._sorted_texts(order.to_numpy(), lengths):
            digest.update(characters_of(part))
        return digest.hexdigest()

    def _sorted_texts(self, order: NDArray[np.uint64], lengths: NDArray[np.int64]) -> Iterator[pa.Array]:
        """Yield the texts in the order of their ids, with one pass over the file for each part of them.

        Args:
            order: [n] the rows of the file in that order.
            lengths: [n] the bytes of each row's text.
        """
        import numpy as np
        import pyarrow as pa

        part_of = np.empty(len(order), np.int64)
        part_of[order] = np.cumsum(lengths[order]) // _BYTES_AT_ONCE
        for number in range(int(part_of.max(initial=-1)) + 1):
            first, chosen = 0, []
            for chunk in self._texts():
                chosen.append(chunk.filter(pa.array(part_of[first : first + len(chunk)] == number)))
                first += len(chunk)
            texts = pa.concat_arrays(chosen)
            chosen.clear()
            # Of the rows of this part: the position of each one in `texts`, in the order of the ids.
            rows = order[part_of[order] == number]
            position = np.searchsorted(np.sort(rows), rows)
            for start in range(0, len(position), ROWS_PER_BATCH):
                yield texts.take(pa.array(position[start : start + ROWS_PER_BATCH]))

    def _texts(self) -> Iterator[pa.Array]:
        for part in self._scan("caption"):
            yield from part["caption"].chunks

    def _scan(self, *columns: str) -> Iterator[pa.Table]:
        return scan_table(self._path, record_schema(CaptionRecord), KIND, ROWS_PER_BATCH, columns)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
