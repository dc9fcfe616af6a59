"""`python -m sg.caption judge`: the scores of captions, beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import isnan
from pathlib import Path

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.judged import FALSE, JudgedCaption, judged_path, write_judged
from sg.artefacts.manifest import VideoRecord, read_manifest
from sg.caption.captioners import CaptionerConfig, captioner_of
from sg.caption.judge import facts
from sg.caption.judge.claims import split_claims
from sg.caption.judge.scores import agreement, auc, means
from sg.core.errors import ConfigError, DataError
from sg.core.identity import identity
from sg.core.tracking import LoggerConfig
from sg.demo.world import VideoSpec
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

JUDGE_VERSION = 1
"""Raised when the same captions and videos would get other verdicts from a rule."""
_EXAMPLES = 3


def judge_captions(
    data: DataConfig, captioner: CaptionerConfig, judge: CaptionerConfig | None, logger: LoggerConfig
) -> str:
    """Judge the captions that a captioner wrote; writes the scores beside them and returns a summary.

    Without a `judge` the facts of the demo world judge.

    Raises:
        MissingInputError: there are no captions yet.
        ConfigError: nothing can judge: the facts are not known, or `judge` asks no service.
        DataError: a caption is not in the language of the demo world.
    """
    path = captioner_of(captioner).captions(data)
    captions, specs = read_captions(path), known_specs(data)
    truth = list(_by_facts(captions, specs)) if specs else None
    name, rows = facts.NAME, truth
    if judge is not None:
        name, rows = judge.name, _by_service(data, judge, captions, truth, path, logger)
        known = {row.video_id: row for row in truth or ()}
        truth = [known[row.video_id] for row in rows] if known else None
    if rows is None:
        raise ConfigError(
            f"The facts of the videos of data={data.name} are not known, so a captioner has to watch them: name one, "
            "such as captioner@judge=gemini."
        )
    settings, inputs = {"judge": name}, {"captions": captions.content_hash}
    work = identity("judged", settings=settings, inputs=inputs, version=JUDGE_VERSION)
    target = write_judged(judged_path(path, name), rows, {**settings, **inputs, "fingerprint": work.name})
    return f"{summary(rows, truth)}\n{target}"


def _by_service(
    data: DataConfig,
    judge: CaptionerConfig,
    captions: Captions,
    truth: list[JudgedCaption] | None,
    path: Path,
    logger: LoggerConfig,
) -> list[JudgedCaption]:
    from sg.caption.hosted.settings import HostedCaptionerConfig
    from sg.caption.judge.hosted import judge_with_service

    if not isinstance(judge, HostedCaptionerConfig):
        raise ConfigError(f"captioner@judge={judge.name} asks no service: expected gemini or openai_compatible.")
    if truth is not None:
        claims: dict[str, Sequence[str]] = {row.video_id: row.claims for row in truth}
    else:
        claims = {video_id: split_claims(text) for video_id, text in captions.items()}
    return judge_with_service(data, judge, claims, path, logger)


def known_specs(data: DataConfig) -> Mapping[str, VideoSpec]:
    """What each video shows, by id, for data whose manifest says it; empty for all other data."""
    found = {}
    for record in read_manifest(make_manifest(data)).usable().records():
        if (spec := _spec(record)) is None:
            return {}
        found[record.video_id] = spec
    return found


def _spec(record: VideoRecord) -> VideoSpec | None:
    try:
        return VideoSpec.from_json(record.extra)
    except (KeyError, TypeError, ValueError):
        return None


def _by_facts(captions: Captions, specs: Mapping[str, VideoSpec]) -> Iterator[JudgedCaption]:
    for video_id, text in captions.items():
        if video_id in specs:
            try:
                yield facts.judge_caption(video_id, text, specs[video_id])
            except ValueError as error:
                raise DataError(f"The caption of video {video_id!r} is {error}: judge it with a captioner.") from error


def summary(rows: list[JudgedCaption], truth: list[JudgedCaption] | None = None) -> str:
    """Mean scores, examples, and how good the judge is where the `truth` about the captions is known."""
    if not rows:
        raise DataError("No caption was judged: no captioned video is in the manifest.")
    scores = {name: score for name, score in means(rows).items() if not isnan(score)}
    lines = [f"  {name:<12}{score:.4f}  mean over {len(rows):,} captions" for name, score in scores.items()]
    if truth is not None:
        faulty = [FALSE in row.verdicts or bool(row.missing) for row in truth]
        good, bad = (
            [row.f1 for row, is_bad in zip(rows, faulty, strict=True) if is_bad is side] for side in (False, True)
        )
        lines.append(f"  {'with a fault':<12}{len(bad):,} of {len(rows):,} captions")
        if good and bad:
            lines.append(
                f"  {'AUC':<12}{auc(good, bad):.4f}  of the judge's F1: captions with a fault against the others"
            )
        if rows is not truth:
            verdicts = ", ".join(f"{name} {value:.3f}" for name, value in agreement(rows, truth).items())
            lines.append(f"  {'verdicts':<12}{verdicts}  of `false`, against the facts")
    false = ((row, claim) for row in rows for claim in row.called(FALSE))
    lines += [f"  false: {claim} ({row.video_id})" for row, claim in islice(false, _EXAMPLES)]
    lines += [f"  missing: {row.missing[0]} ({row.video_id})" for row in rows if row.missing][:_EXAMPLES]
    return "\n".join(lines)
