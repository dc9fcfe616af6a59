"""The driver of a sharded run: it holds the place and size of every token; vectors stay in the shards.

A round has four steps:

1. Every source is sent to the cells nearest to it (`send_visitors`).
2. Every cell matches its own sources and its visitors with its targets (`match_cell`).
3. The driver takes the best proposal of each source and makes **one** cut over all of them, as the run in memory does.
   A cut per shard would remove the same share everywhere, however redundant a shard is.
4. Every cell merges the chosen edges whose target it holds (`apply_edges`).

If every source visits every cell, the forest equals that of a run in memory.
"""

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sg.core.crew.workers import Map, open_map
from sg.core.progress import Progress
from sg.curate.matching.exact import Matches
from sg.curate.order import is_target_side
from sg.curate.removals import Removals, row_cosines
from sg.curate.sharded.corpus import ShardedCorpus
from sg.curate.sharded.jobs import (
    Applied,
    ApplyJob,
    CellJob,
    CheckJob,
    PartJob,
    Proposals,
    ScanJob,
    apply_edges,
    best_in_cell,
    match_cell,
    means_of,
    scan_part,
    send_visitors,
)
from sg.curate.sharded.placement import basis_of, centres_of, grouped, place
from sg.curate.sharded.settings import ShardedTomeConfig
from sg.curate.sharded.shards import Rows, cell_path, join, read_shard
from sg.curate.sharded.state import ShardedState, load_state, save_state
from sg.curate.tome.merge import RoundRecord, RunState, StateStore, collapse_exact, merge_from
from sg.curate.tome.rounds import Edges, Tokens, choose_edges
from sg.curate.tome.schedule import Schedule
from sg.curate.tome.survivors import survivor_rule
from sg.curate.videos import Videos

_NO_CUT = -2.0
"""Below any cosine. The score of a source that met no target is -inf, so this cut excludes it."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardedResult:
    """All removals, [N] `rep_similarity` (NaN for a video that is not merged), and the statistics of each round."""

    removals: Removals
    rep_similarity: np.ndarray[tuple[int], np.dtype[np.float64]]
    rounds: list[RoundRecord]


def merge_shards(corpus: ShardedCorpus, config: ShardedTomeConfig, folder: Path, store: StateStore) -> ShardedResult:
    """Remove the videos of `corpus` by merging.

    Shards and state lie in `folder`; `store` keeps the state of the last rounds, which run in memory.
    """
    schedule = Schedule.of(config, len(corpus))
    with open_map("curator.engine", config.engine, config.gpus_per_job) as mapped:
        run = _ShardedRun(corpus, config, schedule, mapped, folder)
        state = load_state(folder) or run.first_state()
        with Progress("merge", total=len(corpus) - config.n_min, unit="videos", done_before=len(state.removals)) as bar:
            while run.is_for_shards(state):
                before = len(state.removals)
                state = run.next_state(run.placed_again(state))
                # Write the state before the deletion: a kill in between loses no file that is needed.
                save_state(folder, state)
                run.delete_others(state)
                bar.advance(len(state.removals) - before)
    return run.end_in_memory(state, store)


@dataclass(frozen=True, slots=True, eq=False)
class _ShardedRun:
    """What all rounds of a run have in common."""

    corpus: ShardedCorpus
    config: ShardedTomeConfig
    schedule: Schedule
    mapped: Map
    folder: Path

    def is_for_shards(self, state: ShardedState) -> bool:
        """True while rounds are due and the tokens are too many for memory."""
        over = state.is_stuck or self.schedule.is_over(len(state), len(state.rounds))
        return not over and len(state) > self.config.in_memory_below

    def first_state(self) -> ShardedState:
        """All videos in cells, without exact duplicates."""
        every = self.config.sample_every
        scans = list(self.mapped(scan_part, [ScanJob(part, every) for part in self.corpus.parts]))
        videos = self._videos_by_digest(
            np.concatenate([s.row for s in scans]), np.concatenate([s.digest for s in scans])
        )
        rows = np.arange(len(self.corpus))
        tokens = Tokens(rows, rows, np.ones(len(rows), np.int64), videos.unit, rows)
        removals = Removals.none()
        if self.config.collapse_exact:
            tokens, removals = collapse_exact(videos, tokens, survivor_rule(self.config.survivor))
        # The sample is sorted by row, so that the centres do not depend on how the vectors are divided into parts.
        order = np.argsort(np.concatenate([scan.sample for scan in scans]))
        sample = np.concatenate([scan.sampled for scan in scans])[order]
        centres = centres_of(sample, len(tokens), self.config)
        is_alive = np.zeros(len(self.corpus) + 1, dtype=bool)  # the last entry serves the rows -1
        is_alive[tokens.row] = True
        parts: list[PartJob | Path] = [
            dataclasses.replace(part, row=np.where(is_alive[part.row], part.row, -1)) for part in self.corpus.parts
        ]
        cell = place(self.mapped, parts, tokens.row, centres, self.folder / "round-0000")
        return ShardedState(
            number=0,
            row=tokens.row,
            representative=tokens.representative,
            size=tokens.size,
            cell=cell,
            centres=centres,
            basis=basis_of(sample, self.config),
            placed=len(tokens),
            removals=removals,
            rep_similarity=np.ones(len(removals)),
            rounds=[],
            folder="round-0000",
        )

    def placed_again(self, state: ShardedState) -> ShardedState:
        """The state with fewer cells, if half of the tokens were removed since they were assigned to cells.

        Otherwise cells would become so small that most of the best targets lie in cells that a source does not visit.
        """
        if 2 * len(state) > state.placed or len(state.centres) == 1:
            return state
        # The sample is a fixed subset of the rows, in rising order: a resumed run trains the same centres.
        every = self.config.sample_every
        paths = [cell_path(self.folder / state.folder, cell) for cell in range(len(state.centres))]
        sampled = [state.row[members] for members in grouped(state.cell, len(state.centres))]
        sampled = [rows[rows % every == 0] for rows in sampled]
        means = np.concatenate(list(self.mapped(means_of, list(zip(paths, sampled, strict=True)))))
        sample = means[np.argsort(np.concatenate(sampled))]
        lengths = np.linalg.norm(sample, axis=1, keepdims=True)
        sample = sample[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
        centres = centres_of(sample, len(state), self.config)
        name = f"round-{state.number:04d}-again"
        cell = place(self.mapped, paths, state.row, centres, self.folder / name)
        basis = basis_of(sample, self.config)
        return dataclasses.replace(state, cell=cell, centres=centres, basis=basis, placed=len(state), folder=name)

    def next_state(self, state: ShardedState) -> ShardedState:
        """The state after one more round; if one side is empty, only the round number advances."""
        started = time.monotonic()
        is_target = is_target_side(self.corpus.keys[state.row], state.number)
        sources, targets = np.flatnonzero(~is_target), np.flatnonzero(is_target)
        if not len(sources) or not len(targets):
            return dataclasses.replace(state, number=state.number + 1)
        jobs = self._cell_jobs(state, ~is_target)
        # An interrupted attempt at this round may have left visits.
        shutil.rmtree(jobs[0].visits, ignore_errors=True)
        list(self.mapped(send_visitors, jobs))
        matches = _best_proposals(list(self.mapped(match_cell, jobs)), state.row, sources, targets)
        limit = self.schedule.merges(len(state), len(sources), len(state.rounds))
        floor = _NO_CUT if self.config.min_similarity is None else self.config.min_similarity
        edges = choose_edges(sources, targets, matches, limit, state.size, self.config.max_cluster_size, floor)
        record = RoundRecord(
            state.number,
            len(state),
            len(sources),
            len(targets),
            len(edges),
            cut=float(edges.score[-1]) if len(edges) else None,
            agreement=self._agreement(state, jobs, edges),
            seconds=round(time.monotonic() - started, 3),
        )
        # A round without an edge ends the run, as in memory.
        after = dataclasses.replace(state, number=state.number + 1, rounds=[*state.rounds, record], is_stuck=True)
        return self._apply(after, state, jobs, edges) if len(edges) else after

    def delete_others(self, state: ShardedState) -> None:
        """Delete the shards and visits of finished rounds."""
        for path in self.folder.glob("round-*"):
            if path.name != state.folder:
                shutil.rmtree(path)

    def end_in_memory(self, state: ShardedState, store: StateStore) -> ShardedResult:
        """Merge the remaining tokens in memory as `tome` does, and join the removals."""
        paths = [cell_path(self.folder / state.folder, cell) for cell in range(len(state.centres))]
        shard = join([read_shard(path) for path in paths], self.corpus.dim)
        # Only the videos that tokens refer to are needed: as carriers of a key, or as representatives with a vector.
        # They are renumbered in the order of the corpus, so that ties go to the same video as in a run in memory.
        names = np.union1d(state.row, state.representative)
        unit = np.zeros((len(names), self.corpus.dim), np.float32)
        representative = np.searchsorted(names, state.representative)
        unit[representative] = shard.representatives()
        ids = [self.corpus.ids[row] for row in names.tolist()]
        videos = Videos(ids, self.corpus.keys[names], unit, np.arange(len(names)), self.corpus.caption_length[names])
        place = np.arange(len(state))
        tokens = Tokens(np.searchsorted(names, state.row), representative, state.size, shard.mean, place)
        memory = RunState(state.number, tokens, Removals.none(), state.rounds, state.is_stuck)
        last, rounds = merge_from(videos, self.config, memory, store)
        merged = last.into >= 0
        similarity = np.full(len(last), np.nan)
        similarity[merged] = row_cosines(unit, last.video[merged], last.into[merged])
        named = Removals(names[last.video], np.where(merged, names[last.into], -1), last.similarity, last.round)
        joined = Removals.join([state.removals, named])
        return ShardedResult(joined, np.concatenate([state.rep_similarity, similarity]), rounds)

    def _videos_by_digest(self, row: Rows, digest: np.ndarray[tuple[int, int], np.dtype[np.uint64]]) -> Videos:
        """The corpus as `Videos` without vectors; `digest` [N, 2] are the hashes of the vectors of `row` [N]."""
        ordered = np.empty((len(row), 2), np.uint64)
        ordered[row] = digest
        _, first, family = np.unique(ordered.view("V16").ravel(), return_index=True, return_inverse=True)
        unit = np.empty((len(row), 0), np.float32)
        return Videos(self.corpus.ids, self.corpus.keys, unit, first[family], self.corpus.caption_length)

    def _cell_jobs(self, state: ShardedState, is_source: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[CellJob]:
        folder, visits = self.folder / state.folder, self.folder / f"round-{state.number:04d}-visits"
        probed = self.config.probes(len(self.corpus), len(state))
        return [
            CellJob(folder, visits, cell, is_source[members], state.centres, state.basis, probed, self.config)
            for cell, members in enumerate(grouped(state.cell, len(state.centres)))
        ]

    def _agreement(self, state: ShardedState, jobs: list[CellJob], edges: Edges) -> float | None:
        """Share of a sample of the edges that an exact match would have chosen; None if all cells were probed."""
        if not len(edges) or jobs[0].probed >= len(state.centres):
            return None
        chosen = np.arange(0, len(edges), max(1, len(edges) // self.config.verify_sample))
        sources, cell = edges.source[chosen], state.cell[edges.source[chosen]]
        by_cell = [part[np.argsort(state.row[sources[part]])] for part in grouped(cell, len(jobs))]
        asked = [
            (cell_path(job.folder, job.cell), state.row[sources[part]]) for job, part in zip(jobs, by_cell, strict=True)
        ]
        # Two maps: the first fetches the vectors of the sampled sources from their cells, the second compares all of
        # them with the targets of every cell, which is what an exact match would do.
        vectors = np.empty((len(chosen), self.corpus.dim), np.float32)
        for part, means in zip(by_cell, self.mapped(means_of, asked), strict=True):
            vectors[part] = means
        best, score = np.full(len(chosen), -1), np.full(len(chosen), -np.inf)
        for row, found in self.mapped(best_in_cell, [CheckJob(job, vectors) for job in jobs]):
            wins = (found > score) | ((found == score) & (row < best))
            best, score = np.where(wins, row, best), np.where(wins, found, score)
        return float((best == state.row[edges.target[chosen]]).mean())

    def _apply(self, after: ShardedState, state: ShardedState, jobs: list[CellJob], edges: Edges) -> ShardedState:
        """`after` with the tokens that result from carrying out `edges`."""
        name = f"round-{after.number:04d}"
        shutil.rmtree(self.folder / name, ignore_errors=True)
        # The cell of the target carries out an edge; the cell of the source only drops the token.
        of_cell = grouped(state.cell[edges.target], len(jobs))
        leaving = grouped(state.cell[edges.source], len(jobs))
        into = self.folder / name
        work = [
            self._apply_job(state, job, edges, part, rows, into)
            for job, part, rows in zip(jobs, of_cell, leaving, strict=True)
        ]
        applied = self.mapped(apply_edges, work)
        size, representative = state.size.copy(), state.representative.copy()
        # Answers are written to the positions of their edges, so removals keep the global order of the scores.
        blank = np.empty(len(edges), np.int64)
        removed = Removals(blank, blank.copy(), np.empty(len(edges)), blank.copy())
        similarity = np.empty(len(edges))
        for part, done in zip(of_cell, applied, strict=True):
            _note(removed, part, done)
            similarity[part] = done.rep_similarity
            place = np.searchsorted(state.row, done.grown)
            size[place], representative[place] = done.size, done.representative
        kept = np.ones(len(state), dtype=bool)
        kept[edges.source] = False
        return dataclasses.replace(
            after,
            row=state.row[kept],
            representative=representative[kept],
            size=size[kept],
            cell=state.cell[kept],
            removals=Removals.join([state.removals, removed]),
            rep_similarity=np.concatenate([state.rep_similarity, similarity]),
            folder=name,
            is_stuck=False,
        )

    def _apply_job(
        self, state: ShardedState, job: CellJob, edges: Edges, part: Rows, leaving: Rows, into: Path
    ) -> ApplyJob:
        touched = np.unique(np.concatenate([edges.source[part], edges.target[part]]))
        representative = state.representative[touched]
        return ApplyJob(
            cell=job,
            number=state.number,
            source=state.row[edges.source[part]],
            target=state.row[edges.target[part]],
            score=edges.score[part],
            leaving=state.row[edges.source[leaving]],
            row=state.row[touched],
            size=state.size[touched],
            representative=representative,
            caption_length=self.corpus.caption_length[representative],
            into=into,
        )


def _note(removed: Removals, part: Rows, done: Applied) -> None:
    """Copy the removals of a cell to the positions `part` of its edges."""
    for name in ("video", "into", "similarity", "round"):
        getattr(removed, name)[part] = getattr(done.removals, name)


def _best_proposals(parts: list[Proposals], row: Rows, sources: Rows, targets: Rows) -> Matches:
    """The best proposal of each source, of equal scores the lowest target; a source without any has score -inf."""
    source = np.concatenate([part.source for part in parts])
    target = np.concatenate([part.target for part in parts])
    score = np.concatenate([part.score for part in parts])
    order = np.lexsort((target, -score, source))
    first = order[np.flatnonzero(np.r_[True, np.diff(source[order]) > 0])] if len(order) else order
    matches = Matches(np.zeros(len(sources), np.int64), np.full(len(sources), -np.inf))
    place = np.searchsorted(row[sources], source[first])
    matches.target[place] = np.searchsorted(row[targets], target[first])
    matches.score[place] = score[first]
    return matches
