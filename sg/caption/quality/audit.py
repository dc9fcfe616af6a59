"""The audit: all gates judge all results of a ledger again; prints numbers and writes a page of frames and captions."""

import base64
import io
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sg.artefacts.manifest import Manifest, VideoRecord, video_path
from sg.artefacts.names import shown_id
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import SUCCEEDED
from sg.caption.quality.duplicates import Repeated, near_duplicates
from sg.caption.quality.gates import PASS, REJECT, Judged, Verdict, judge, worst
from sg.core.errors import DataError
from sg.core.files import write_record, write_text

FRAMES, FRAME_WIDTH = 4, 400
_LENGTH_STEP, _LAST_LENGTH = 25, 600
_MOST_REASONS = 12


@dataclass(frozen=True, slots=True)
class Example:
    """An answer that the page shows, with the verdicts of the current gates."""

    row: reading.Recorded
    verdicts: tuple[Verdict, ...]


@dataclass(slots=True)
class Audit:
    """The numbers of an audit."""

    states: dict[str, int]
    gates: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_source: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    audio: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    near: list[tuple[str, str, float]] = field(default_factory=list)
    cost_usd: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    def state_rows(self) -> list[tuple[str, int]]:
        """Number of videos by state."""
        return [(state.replace("_", " "), count) for state, count in self.states.items()]

    def gate_rows(self) -> list[tuple[str, int, int, int]]:
        """Each gate with the number of answers that it passes, warns about and rejects."""
        names = sorted({gate for gate, _ in self.gates})
        return [
            (name, self.gates[name, "pass"], self.gates[name, "warn"], self.gates[name, "reject"]) for name in names
        ]

    def finding_rows(self) -> list[tuple[str, int]]:
        """What was found by comparing texts with each other and with the sound of their videos."""
        return [
            ("text shared by too many videos", self.repeated),
            ("nearly equal texts (pairs)", len(self.near)),
            ("texts about silent videos", self.audio["silent videos"]),
            ("of them with sound in the text", self.audio["sound in a silent video"]),
        ]

    def reason_rows(self) -> list[tuple[str, int]]:
        """The most frequent reasons for which answers were rejected or are missing, and how many have another one."""
        rows = self.reasons.most_common(_MOST_REASONS)
        others = self.reasons.total() - sum(count for _, count in rows)
        return rows + ([("other reasons", others)] if others else [])

    def length_rows(self) -> list[tuple[str, int]]:
        """The number of answers by words, in equal steps without a gap; the last one is open above."""
        counts: Counter[int] = Counter()
        for start, count in self.lengths.items():
            counts[min(start, _LAST_LENGTH)] += count
        steps = range(min(counts, default=0), max(counts, default=-1) + 1, _LENGTH_STEP)
        ends = {start: f"–{start + _LENGTH_STEP - 1}" for start in steps if start < _LAST_LENGTH}
        return [(f"{start}{ends.get(start, '+')}", counts[start]) for start in steps]

    def text(self) -> str:
        """The numbers, for a terminal."""
        lines = [f"  {state:<20}{count:>9,}" for state, count in self.state_rows()]
        lines.append(f"\n  {'gate':<14}{'pass':>9}{'warn':>9}{'reject':>9}")
        lines += [f"  {gate:<14}" + "".join(f"{count:>9,}" for count in counts) for gate, *counts in self.gate_rows()]
        lines.append("")
        rows = [(f"ended as {reason}", count) for reason, count in self.reason_rows()] + self.finding_rows()
        width = max(len(name) for name, _ in rows)
        lines += [f"  {name:<{width}}{count:>9,}" for name, count in rows]
        lines.append("\n  words per text")
        most = max(self.lengths.values(), default=1)
        lines += [f"  {words:>9}{count:>9,} {'#' * round(40 * count / most)}" for words, count in self.length_rows()]
        return "\n".join(line.rstrip() for line in lines)


def audit(db: sqlite3.Connection, recipe: Recipe, manifest: Manifest, videos: Path, folder: Path, samples: int) -> str:
    """Judge all results again, write `audit.json` and `index.html`, and return the numbers as text.

    Raises:
        DataError: the ledger has no results yet.
    """
    found = examine(reading.results(db, recipe.name), recipe, reading.states(db, recipe.name), samples)
    found.near = near_duplicates(
        lambda: ((row.video_id, row.text) for row in reading.results(db, recipe.name) if row.text)
    )
    if not found.gates:
        raise DataError("There is nothing to audit: the ledger has no results with this prompt, model and settings.")
    rows = {record.video_id: record for record in _wanted(manifest, found)}
    numbers = {
        "states": found.states,
        "gates": {f"{gate}/{verdict}": count for (gate, verdict), count in sorted(found.gates.items())},
        "by_source": {f"{source}/{state}": count for (source, state), count in sorted(found.by_source.items())},
        "reasons": dict(found.reasons),
        "lengths": {str(start): count for start, count in sorted(found.lengths.items())},
        "audio": dict(found.audio),
        "repeated": found.repeated,
        "near_duplicates": found.near[:1000],
    }
    write_record(folder / "audit.json", numbers)
    write_text(folder / "index.html", page(found, rows, videos, reading.last_errors(db, recipe.name)))
    return f"{found.text()}\n\n{folder / 'index.html'}"


def examine(
    results: Iterable[reading.Recorded], recipe: Recipe, states: dict[str, int], samples: int, seed: int = 0
) -> Audit:
    """The numbers of all results, and a uniform sample of examples of each kind; the current gates judge the texts."""
    found, draw = Audit(states), random.Random(seed)
    too_often = Repeated(recipe.config.max_duplicates)
    for row in results:
        verdicts = judged_again(row, recipe) if row.text else ()
        found.by_source[str(row.record.get("source")), row.status] += 1
        found.cost_usd += float(row.record.get("cost_usd") or 0)
        if row.status != SUCCEEDED:
            found.reasons[_reason(row, verdicts)] += 1
        if row.text:
            found.gates.update((verdict.gate, verdict.verdict) for verdict in verdicts)
            found.lengths[len(row.text.split()) // _LENGTH_STEP * _LENGTH_STEP] += 1
            too_often.note(row.text)
            if row.record.get("has_audio") is False:
                found.audio["silent videos"] += 1
                heard = any(verdict.gate == "audio" and verdict.verdict != PASS for verdict in verdicts)
                found.audio["sound in a silent video"] += heard
        kind = "captions" if row.status == SUCCEEDED and worst(verdicts) != REJECT else _reason(row, verdicts)
        found.kinds[kind] += 1
        _keep(found.examples.setdefault(kind, []), Example(row, verdicts), found.kinds[kind], samples, draw)
    found.repeated = len(too_often)
    return found


def judged_again(row: reading.Recorded, recipe: Recipe) -> tuple[Verdict, ...]:
    """The verdicts of the current gates on a recorded text; no request is sent."""
    form = row.record.get("structured") or {}
    duration_s = float(row.record.get("duration_s") or 0)
    return judge(
        Judged(
            row.text,
            duration_s,
            row.record.get("has_audio"),
            str(row.record.get("finish_reason") or ""),
            recipe.config.language,
            str(form["audio"]) if "audio" in form else None,
            bool(form.get("refused")),
            recipe.prompt.words(duration_s),
            recipe.prompt.user(duration_s, row.record.get("has_audio")),
        )
    )


def _keep(kept: list[Example], example: Example, seen: int, most: int, draw: random.Random) -> None:
    """Reservoir sampling: every one of the `seen` answers of a kind has the same probability to be shown."""
    if len(kept) < most:
        kept.append(example)
    elif (place := draw.randrange(seen)) < most:
        kept[place] = example


def _reason(row: reading.Recorded, verdicts: Sequence[Verdict]) -> str:
    gates = [verdict.gate for verdict in verdicts if verdict.verdict == REJECT] if row.text else []
    why = ", ".join(gates) or str(row.record.get("block_reason") or row.record.get("finish_reason") or "no answer")
    status = "captions that the gates reject now" if row.status == SUCCEEDED else row.status.replace("_", " ")
    return f"{status}: {why}"


def _wanted(manifest: Manifest, found: Audit) -> Iterable[VideoRecord]:
    ids = {example.row.video_id for examples in found.examples.values() for example in examples}
    return (record for record in manifest.usable().records() if record.video_id in ids)


def page(found: Audit, records: dict[str, VideoRecord], videos: Path, errors: dict[str, str]) -> str:
    """The page; `errors` say by video id why there is no text. All texts are escaped: strangers wrote them."""
    import jinja2

    template = Path(__file__).with_name("audit.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    kinds = {
        kind: [
            (one.row, pictures(records.get(one.row.video_id), videos), _facts(one), errors.get(one.row.video_id, ""))
            for one in examples
        ]
        for kind, examples in sorted(found.examples.items(), key=lambda item: (item[0] != "captions", item[0]))
    }
    lengths = found.length_rows()
    most = max((count for _, count in lengths), default=1)
    return environment.from_string(template).render(
        kinds=kinds,
        counts=found.kinds,
        captions=found.states.get(SUCCEEDED, 0),
        states=found.state_rows(),
        gates=found.gate_rows(),
        reasons=found.reason_rows(),
        findings=found.finding_rows(),
        lengths=[(words, count, round(100 * count / most, 1)) for words, count in lengths],
        shown_id=shown_id,
    )


def _facts(example: Example) -> str:
    row = example.row
    tokens, words = row.record.get("tokens") or {}, len(row.text.split())
    parts = [
        f"{row.record.get('duration_s') or 0:.0f} s",
        f"{words:,} word{'s' * (words != 1)}",
        f"{tokens.get('input', 0):,} tokens in, {tokens.get('output', 0):,} out",
        str(row.record.get("model_version") or ""),
    ]
    parts += [f"{one.gate}: {one.verdict}" for one in example.verdicts if one.verdict != PASS]
    return " · ".join(part for part in parts if part)


def pictures(record: VideoRecord | None, videos: Path) -> list[str]:
    """Frames of a video as data URLs; an empty list if it cannot be read."""
    from PIL import Image

    from sg.video.reader import read_frames
    from sg.video.sampling import MiddleOfSegments

    if record is None:
        return []
    try:
        frames = read_frames(video_path(videos, record), MiddleOfSegments(FRAMES)).frames
    except DataError:
        return []
    urls = []
    for frame in frames:
        picture = Image.fromarray(frame)
        picture.thumbnail((FRAME_WIDTH, FRAME_WIDTH))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        urls.append(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}")
    return urls
