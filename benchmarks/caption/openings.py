"""Precision and recall of the gates on openings of captions and of chat, by language.

    python -m benchmarks.caption.openings [LIST]

A list has one opening per line: good or bad, language, kind, and the text. Each English opening is continued by a good
caption, so that a gate has to find it in a text of usual length.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sg.caption.quality.gates import REJECT, Judged, chat, meta, refusal
from tests.caption.hosted.fake_gemini.answers import caption_text

LISTS = Path(__file__).parents[2] / "tests" / "caption"
GATES = (chat, refusal, meta)


def openings(path: Path) -> Iterator[tuple[bool, str, str, str]]:
    """Whether it is bad, language, kind and text of each line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        verdict, language, kind, text = line.split("\t")
        text = text.replace("\\n", "\n")
        yield verdict == "bad", language, kind, f"{text} {caption_text(text)}" if language == "en" else text


def is_rejected(text: str) -> bool:
    """Whether one of the gates rejects the text."""
    return any(gate(Judged(text, 18.0, False, language=None)).verdict == REJECT for gate in GATES)


def main(path: Path) -> None:
    found: Counter[tuple[str, bool, bool]] = Counter()
    began, rows = time.process_time(), list(openings(path))
    for is_bad, language, _, text in rows:
        rejected = is_rejected(text)
        for group in (language, "all"):
            found[group, is_bad, rejected] += 1
        if rejected != is_bad:
            print("missed:" if is_bad else "dropped, but good:", text.split("\n")[0][:90])
    print(f"{path.name}: {1000 * (time.process_time() - began) / len(rows):.2f} ms per text")
    print("| language | bad | of them rejected | good | of them rejected | precision | recall |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for group in [*sorted({group for group, _, _ in found} - {"all"}), "all"]:
        hits, missed = found[group, True, True], found[group, True, False]
        dropped, kept = found[group, False, True], found[group, False, False]
        precision = hits / (hits + dropped) if hits + dropped else 1.0
        print(
            f"| {group} | {hits + missed} | {hits} | {dropped + kept} | {dropped} "
            f"| {precision:.3f} | {hits / max(hits + missed, 1):.3f} |"
        )


if __name__ == "__main__":
    for name in sys.argv[1:] or ("openings.tsv", "openings_second.tsv"):
        main(LISTS / name)
