"""A sharded run between two rounds, in memory and on disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg.core.files import atomic_path
from sg.curate.arrays import read_state_arrays
from sg.curate.removals import Removals
from sg.curate.sharded.shards import Rows, Vectors32
from sg.curate.tome.merge import RoundRecord

_FILE = "state.npz"
_ARRAYS = ("row", "representative", "size", "cell", "rep_similarity", "centres", "basis")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ShardedState:
    """n tokens by rising row, whose vectors lie in the shards of `folder`.

    Attributes:
        number: of the next round.
        row: [n] the video whose key each token carries.
        representative: [n] the video that represents it.
        size: [n] videos in it.
        cell: [n] the number of its shard.
        centres: [K, d] unit centres of the shards.
        basis: [d, p] principal directions for the bound of `projected`, the same in all shards.
        placed: number of tokens when they were last assigned to cells.
        removals: all removals so far.
        rep_similarity: [r] cosine of each removed video with the one it was merged into.
        rounds: statistics of each round.
        folder: name of the folder with the shards.
        is_stuck: the last round made no merge.
    """

    number: int
    row: Rows
    representative: Rows
    size: Rows
    cell: Rows
    centres: Vectors32
    basis: Vectors32
    placed: int
    removals: Removals
    rep_similarity: NDArray[np.float64]
    rounds: list[RoundRecord]
    folder: str
    is_stuck: bool = False

    def __len__(self) -> int:
        return len(self.row)


def save_state(folder: Path, state: ShardedState) -> None:
    """Write the state; the caller deletes the shards and visits of other rounds afterwards."""
    plain = {
        "number": state.number,
        "placed": state.placed,
        "folder": state.folder,
        "is_stuck": state.is_stuck,
        "rounds": [dataclasses.asdict(record) for record in state.rounds],
    }
    arrays = {name: getattr(state, name) for name in _ARRAYS}
    arrays |= {f"removals_{field.name}": getattr(state.removals, field.name) for field in dataclasses.fields(Removals)}
    with atomic_path(folder / _FILE) as temporary:
        np.savez(temporary, allow_pickle=False, plain=np.array(json.dumps(plain)), **arrays)


def load_state(folder: Path) -> ShardedState | None:
    """The last state that was written; None if there is none, or a damaged one."""
    removed = {field.name: f"removals_{field.name}" for field in dataclasses.fields(Removals)}
    data = read_state_arrays(folder / _FILE, {"plain", *_ARRAYS, *removed.values()})
    if data is None:
        return None
    plain = json.loads(str(data["plain"]))
    removals = Removals(**{name: data[key] for name, key in removed.items()})
    rounds = [RoundRecord(**record) for record in plain.pop("rounds")]
    arrays: dict[str, Any] = {name: data[name] for name in _ARRAYS}
    return ShardedState(removals=removals, rounds=rounds, **plain, **arrays)
