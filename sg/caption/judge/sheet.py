"""The sheet for people: captions of two captioners side by side, blind, and how far people and judge agree.

The page is one file without a connection to anything. Which captioner wrote which side is in a second file, the key,
which the person who answers does not need.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isnan
from pathlib import Path
from typing import Any

from sg.artefacts.captions import read_captions
from sg.artefacts.judged import FALSE, JudgedCaption, judged_path, read_judged
from sg.artefacts.manifest import read_manifest
from sg.caption.captioners import CaptionerConfig, captioner_of
from sg.caption.judge.agreement import Agreement, kappa
from sg.caption.quality.audit import FRAMES, pictures
from sg.core.errors import ConfigError, DataError, first_line
from sg.core.files import read_json, write_record, write_text
from sg.core.fingerprints import fingerprint
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

SIDES = LEFT, RIGHT = "left", "right"
EQUAL = "equal"
_EQUAL_WITHIN = 0.02
"""Scores of a judge that differ by no more than this are equal."""
_ATTEMPTS = 4


def make_sheet(data: DataConfig, first: CaptionerConfig, second: CaptionerConfig, videos: int, out: Path) -> str:
    """Write the page and its key for at most `videos` videos; returns where they are.

    Raises:
        MissingInputError: one of the captioners has no captions yet.
        DataError: no video has two different captions and frames that can be read.
    """
    places = [captioner_of(config).captions(data) for config in (first, second)]
    texts = [read_captions(place) for place in places]
    records = {record.video_id: record for record in read_manifest(make_manifest(data)).usable().records()}
    both = sorted(
        name for name in records if name in texts[0] and name in texts[1] and texts[0][name] != texts[1][name]
    )
    draw = random.Random(0)
    draw.shuffle(both)
    shown, key = list[dict[str, Any]](), dict[str, list[int]]()
    for name in both[: _ATTEMPTS * videos]:
        if len(shown) < videos and (frames := pictures(records[name], data.videos_folder)):
            order = draw.sample((0, 1), 2)
            key[name] = order
            shown.append(
                {"id": name, "frames": frames} | {s: texts[n][name] for s, n in zip(SIDES, order, strict=True)}
            )
    if not shown:
        raise DataError(f"No video of data={data.name} has two different captions, and frames that can be read.")
    sheet = fingerprint([key, [text.content_hash for text in texts]])
    if out.exists() and (not key_path(out).is_file() or _read(key_path(out), "sides")["sheet"] != sheet):
        raise ConfigError(f"out={out} exists, and is not this sheet: answers to it would be lost. Choose a new file.")
    write_text(out, _page({"sheet": sheet, "videos": shown}))
    write_record(key_path(out), {"sheet": sheet, "captions": [str(place) for place in places], "sides": key})
    return f"{out}: {len(shown)} videos, to be opened in a browser\n{key_path(out)}: who wrote which side"


def key_path(out: Path) -> Path:
    """The key of a page."""
    return out.with_suffix(".key.json")


def _page(data: Mapping[str, Any]) -> str:
    import jinja2

    template = Path(__file__).with_name("sheet.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(data=data, frames=FRAMES)


def compare_answers(out: Path, answers: Sequence[Path], judge: str) -> str:
    """Which captioner people prefer, and how far they agree with each other and with a judge, as text.

    Args:
        out: the page that was answered.
        answers: the files that it saved.
        judge: the name of a judge, whose verdicts are used where both captioners have been judged.

    Raises:
        ConfigError: a file is missing, or is not an answer to this page.
    """
    key = _read(key_path(out), "sides")
    people = {}
    for path in answers:
        found = _read(path, "answers")
        if found["sheet"] != key["sheet"]:
            raise ConfigError(f"{path} answers another page than {out}: expected sheet {key['sheet']}.")
        if not _is_answered(found, key["sides"]):
            raise ConfigError(f"{path} has answers that the page does not save: give the file as it was saved.")
        people[f"{found['rater']} ({path.name})"] = found["answers"]
    lines = [f"  {name}: {_preferences(given, key['sides'])}" for name, given in people.items()]
    judged = _judged(key, judge)
    raters = people | ({f"judge {judge}": judged} if judged else {})
    for one, other in combinations(raters, 2):
        for what, question in (("better", "which is better"), ("false", "states something false")):
            pairs = _pairs(raters[one], raters[other], what)
            lines.append(f"  {one} and {other}, {question}: {_shown(kappa(pairs))}")
    if not judged:
        lines.append(f"  no verdicts of judge {judge} on both: run python -m sg.caption judge for each captioner")
    return "\n".join(lines)


def _read(path: Path, needed: str) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, DataError) as error:
        reason = first_line(error.__cause__ or error)
        raise ConfigError(f"{path} cannot be read ({reason}): expected a file that the page has saved.") from error
    if not isinstance(value, dict) or not {"sheet", needed} <= value.keys():
        raise ConfigError(f"{path} should have 'sheet' and {needed!r}, as files of the page have.")
    return value


def _is_answered(found: Mapping[str, Any], sides: Mapping[str, Any]) -> bool:
    """Whether answers have the form in which the page saves them, for videos of the page."""
    answers = found["answers"]
    return (
        isinstance(found.get("rater"), str)
        and isinstance(answers, dict)
        and all(
            name in sides
            and isinstance(answer, dict)
            and answer.get("better") in (*SIDES, EQUAL)
            and all(isinstance(answer.get(f"{side}_false"), bool) for side in SIDES)
            for name, answer in answers.items()
        )
    )


def _judged(key: Mapping[str, Any], judge: str) -> dict[str, dict[str, Any]]:
    """The answers of a judge, in the form of those of people; empty without verdicts on both captioners."""
    paths = [judged_path(Path(place), judge) for place in key["captions"]]
    if not all(path.is_file() for path in paths):
        return {}
    rows = [{row.video_id: row for row in read_judged(path)} for path in paths]
    answers = {}
    for name, order in key["sides"].items():
        left, right = (rows[number].get(name) for number in order)
        if left is not None and right is not None and not isnan(left.f1 - right.f1):
            answers[name] = {"better": _better(left, right)} | {
                f"{side}_false": FALSE in row.verdicts for side, row in zip(SIDES, (left, right), strict=True)
            }
    return answers


def _better(left: JudgedCaption, right: JudgedCaption) -> str:
    if abs(left.f1 - right.f1) <= _EQUAL_WITHIN:
        return EQUAL
    return LEFT if left.f1 > right.f1 else RIGHT


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> list[list[tuple[Any, Any]]]:
    """For each video that both answered, their pairs of answers: one preference, or one for each side."""
    names = sorted(one.keys() & other.keys())
    if what == "better":
        return [[(one[name]["better"], other[name]["better"])] for name in names]
    return [[(one[name][f"{side}_false"], other[name][f"{side}_false"]) for side in SIDES] for name in names]


def _preferences(given: Mapping[str, Any], sides: Mapping[str, Sequence[int]]) -> str:
    """How often each captioner is preferred."""
    wins = [0, 0, 0]
    for name, answer in given.items():
        wins[2 if answer["better"] == EQUAL else sides[name][SIDES.index(answer["better"])]] += 1
    return f"captioner {wins[0]}, other {wins[1]}, equal {wins[2]} of {len(given)} videos"


def _shown(found: Agreement) -> str:
    if isnan(found.kappa):
        return f"no kappa ({found.count} answers, or all of them equal)"
    return (
        f"kappa {found.kappa:.3f} [{found.low:.3f}, {found.high:.3f}] (95 % over {found.videos} videos), "
        f"{found.agreed:.1%} of {found.count} answers agree"
    )
