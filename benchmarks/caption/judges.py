"""The judge of the demo world on captions with faults of known rates: `python -m benchmarks.caption.judges`.

Prints mean precision, recall and F1 of 2,000 captions of the corpus, how many of them have a fault, and the AUC of the
F1: the probability that a caption without a fault scores above one with it.
"""

from __future__ import annotations

import random
import time

from sg.caption.judge.facts import judge_caption
from sg.caption.judge.scores import auc, means
from sg.demo.caption_noise import FAULTS, with_fault
from sg.demo.config import DemoWorldConfig
from sg.demo.corpus import make_world
from sg.demo.language import caption

RATES = (0.1, 0.3, 1.0)
NUM_VIDEOS = 2000


def main() -> None:
    specs = [video.spec for video in make_world(DemoWorldConfig()).corpus[:NUM_VIDEOS]]
    clean = [judge_caption(str(number), caption(spec), spec).f1 for number, spec in enumerate(specs)]
    print("| fault | rate | with a fault | precision | recall | F1 | AUC |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    began = time.process_time()
    for fault in FAULTS:
        for rate in RATES:
            texts = [caption(with_fault(spec, fault, rate, random.Random(i))) for i, spec in enumerate(specs)]
            rows = [judge_caption(str(i), text, spec) for i, (text, spec) in enumerate(zip(texts, specs, strict=True))]
            bad = [row.f1 for row, text, spec in zip(rows, texts, specs, strict=True) if text != caption(spec)]
            scores = means(rows)
            print(
                f"| {fault} | {rate:g} | {len(bad):,} | {scores['precision']:.3f} | {scores['recall']:.3f} "
                f"| {scores['f1']:.3f} | {auc(clean, bad):.3f} |"
            )
    count = len(FAULTS) * len(RATES) * len(specs)
    print(f"{1000 * (time.process_time() - began) / count:.2f} ms per caption")


if __name__ == "__main__":
    main()
