"""Lists of a core for other programs."""

from pathlib import Path

import numpy as np

from sg.artefacts.forest import Forest
from sg.core.files import atomic_path, write_text


def export_core(forest: Forest, size: int, folder: Path) -> tuple[Path, Path]:
    """Write `core-<size>.txt` (one id per line) and `core-<size>.parquet` (`video_id`, `cluster_size`, `cluster_id`).

    Both start with the video that is removed last. The id of a cluster is the id of its survivor, hence of the row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    core = forest.core(size)
    owner = forest.assignment(size)
    sizes = np.bincount(owner[owner >= 0], minlength=len(forest))[len(forest) - size :][::-1]
    folder.mkdir(parents=True, exist_ok=True)
    text, table = folder / f"core-{size}.txt", folder / f"core-{size}.parquet"
    write_text(text, "".join(f"{video_id}\n" for video_id in core))
    with atomic_path(table) as temporary:
        columns = {
            "video_id": pa.array(core, pa.string()),
            "cluster_size": sizes,
            "cluster_id": pa.array(core, pa.string()),
        }
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    return text, table
