"""The state of an unfinished curation on disk: after rounds, and within a round after blocks of rows."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from sg.core.errors import ConfigError, DataError
from sg.core.files import atomic_path, read_json, write_record
from sg.core.identity import Identity, differences, from_plain
from sg.curate.arrays import read_state_arrays
from sg.curate.matching.exact import Candidates
from sg.curate.removals import Removals
from sg.curate.tome.merge import RoundRecord, RunState
from sg.curate.tome.rounds import Tokens

_IDENTITY_FILE = "identity.json"
_TOKENS = tuple(field.name for field in dataclasses.fields(Tokens))
_REMOVALS = tuple(field.name for field in dataclasses.fields(Removals))


class RunStore:
    """Keeps a run in `folder`, at most every `every_s` seconds.

    Raises:
        DataError: the record of an unfinished run is damaged.
        ConfigError: the folder holds an unfinished run of another identity than `work`. It is not deleted, because it
            may hold hours of work, and not resumed, because the result would be a mixture.
    """

    def __init__(self, folder: Path, work: Identity, every_s: float) -> None:
        self._folder, self._identity, self._every_s = folder, work.plain(), every_s
        self._saved = time.monotonic()
        path = folder / _IDENTITY_FILE
        if path.is_file() and (differing := _differing(_recorded(path), work)):
            raise ConfigError(
                f"An unfinished curation in {folder} was made with other inputs or settings ({differing}): "
                "finish it with those, or delete that folder."
            )

    def open_folder(self, name: str) -> Path:
        """A subfolder for a run that keeps further state itself."""
        write_record(self._folder / _IDENTITY_FILE, self._identity)
        (self._folder / name).mkdir(exist_ok=True)
        return self._folder / name

    def load_round(self) -> RunState | None:
        """The last state that was kept; None if there is none."""
        tokens, removals = {f"tokens_{name}" for name in _TOKENS}, {f"removals_{name}" for name in _REMOVALS}
        data = read_state_arrays(self._folder / "round.npz", {"plain", *tokens, *removals})
        if data is None:
            return None
        plain = json.loads(str(data["plain"]))
        return RunState(
            next_round=plain["next_round"],
            tokens=Tokens(**{name: data[f"tokens_{name}"] for name in _TOKENS}),
            removals=Removals(**{name: data[f"removals_{name}"] for name in _REMOVALS}),
            rounds=[RoundRecord(**record) for record in plain["rounds"]],
            is_stuck=plain["is_stuck"],
        )

    def save_round(self, state: RunState) -> None:
        """Keep the state if enough time has passed since anything was kept."""
        if not self._is_due():
            return
        rounds = [dataclasses.asdict(record) for record in state.rounds]
        plain = {"next_round": state.next_round, "rounds": rounds, "is_stuck": state.is_stuck}
        arrays = {f"tokens_{name}": getattr(state.tokens, name) for name in _TOKENS}
        arrays |= {f"removals_{name}": getattr(state.removals, name) for name in _REMOVALS}
        self._save("round.npz", plain=np.array(json.dumps(plain)), **arrays)

    def blocks(self, round_number: int) -> RoundBlocks:
        """The store of the finished blocks of a round."""
        return RoundBlocks(self, round_number)

    def load_blocks(self, round_number: int, count: int) -> Candidates:
        """The finished candidates of a round with `count` sources; empty if those of another round were kept."""
        data = read_state_arrays(self._folder / "blocks.npz", {"round_and_count", "target", "lead"})
        if data is not None and data["round_and_count"].tolist() == [round_number, count]:
            return Candidates(data["target"], data["lead"])
        return Candidates.join([])

    def save_blocks(self, round_number: int, candidates: Candidates, count: int) -> None:
        """Keep the finished candidates of a round if enough time has passed since anything was kept."""
        if self._is_due():
            where = np.array([round_number, count])
            self._save("blocks.npz", round_and_count=where, target=candidates.target, lead=candidates.lead)

    def delete(self) -> None:
        """Delete the state: the curation is finished."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved >= self._every_s

    def _save(self, name: str, **arrays: np.ndarray[Any, Any]) -> None:
        write_record(self._folder / _IDENTITY_FILE, self._identity)
        with atomic_path(self._folder / name) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
        self._saved = time.monotonic()


@dataclasses.dataclass(frozen=True, slots=True)
class RoundBlocks:
    """The blocks of one round in a `RunStore`."""

    store: RunStore
    round_number: int

    def load(self, count: int) -> Candidates:
        """The candidates of the first of `count` rows that an earlier run finished; empty if there was none."""
        return self.store.load_blocks(self.round_number, count)

    def save(self, candidates: Candidates, count: int) -> None:
        """Keep the candidates of the first rows."""
        self.store.save_blocks(self.round_number, candidates, count)


def _recorded(path: Path) -> Any:
    try:
        return read_json(path)
    except DataError as error:
        # Without the record, the state could be of other inputs. So it is not enough to delete only this file.
        raise DataError(f"{path} is damaged: delete the folder {path.parent} and curate again.") from error


def _differing(before: Any, work: Identity) -> str:
    """In what the identity that an unfinished run recorded differs from `work`; "" where it does not."""
    try:
        changes = differences(from_plain(before), work)
    except (KeyError, TypeError):
        return "it was made by another version of sg"
    return "; ".join(map(str, changes))
