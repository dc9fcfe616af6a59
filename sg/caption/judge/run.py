"""`python -m sg.caption judge`: the scores of captions, beside them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any

from sg.artefacts.captions import Captions, read_captions
from sg.artefacts.judged import FALSE, JudgedCaption, judged_path, write_judged
from sg.artefacts.manifest import VideoRecord, read_manifest
from sg.caption.captioners import CaptionerConfig, captioner_of
from sg.caption.judge import alignment, facts
from sg.caption.judge.claims import split_claims
from sg.caption.judge.scores import agreement, auc, means
from sg.caption.judge.union import against_union
from sg.core.errors import ConfigError, DataError
from sg.core.identity import identity
from sg.core.tracking import LoggerConfig
from sg.demo.world import VideoSpec
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

JUDGE_VERSION = 2
"""Raised when the same captions and videos would get other verdicts from a rule."""
_EXAMPLES = 3


def judge_captions(
    data: DataConfig,
    captioner: CaptionerConfig,
    judge: CaptionerConfig | None,
    logger: LoggerConfig,
    *,
    model: str | None = None,
    union: Sequence[Path] = (),
) -> str:
    """Judge the captions that a captioner wrote; writes the scores beside them and returns a summary.

    Without a `judge` and a `model` the facts of the demo world judge.

    Args:
        model: an image-text model that judges, as a folder or OWNER/REPOSITORY.
        union: files of other captions of the same videos. Recall is then that of what at least one of them and these
            captions truly state.

    Raises:
        MissingInputError: there are no captions yet, or the others of `union` have not been judged.
        ConfigError: nothing can judge: the facts are not known, or `judge` asks no service.
        DataError: a caption is not in the language of the demo world.
    """
    path = captioner_of(captioner).captions(data)
    captions, others, specs = read_captions(path), [read_captions(other) for other in union], known_specs(data)
    truth = _truth(captions, others, specs, is_needed=judge is None and model is None)
    claims = {name: split_claims(text) for name, text in captions.items()}
    claims |= {row.video_id: list(row.claims) for row in truth or ()}
    inputs: dict[str, Any] = {"captions": captions.content_hash, "union": [other.content_hash for other in others]}
    if model is not None and (judge is not None or union):
        raise ConfigError(f"alignment={model} gives no verdicts on claims: run it without captioner@judge and source.")
    if model is not None:
        name = alignment.NAME
        rows, inputs["model"] = _by_model(data, model, captions, claims, path)
    elif judge is not None:
        name, rows = judge.name, _by_service(data, judge, claims, path, logger)
        rows = against_union(rows, union, name) if union else rows
    elif truth is not None:
        name, rows = facts.NAME, truth
    else:
        raise ConfigError(
            f"The facts of the videos of data={data.name} are not known, so a captioner has to watch them: name one, "
            "such as captioner@judge=gemini, or an image-text model, such as alignment=openai/clip-vit-base-patch32."
        )
    work = identity("judged", settings={"judge": name}, inputs=inputs, version=JUDGE_VERSION)
    target = write_judged(judged_path(path, name), rows, {"judge": name, **inputs, "fingerprint": work.name})
    if rows is not truth:
        known = {row.video_id: row for row in truth or ()}
        truth = [known[row.video_id] for row in rows] if known else None
    return f"{summary(rows, truth, 'f1' if model is None else 'alignment')}\n{target}"


def _by_service(
    data: DataConfig, judge: CaptionerConfig, claims: Mapping[str, Sequence[str]], path: Path, logger: LoggerConfig
) -> list[JudgedCaption]:
    from sg.caption.hosted.settings import HostedCaptionerConfig
    from sg.caption.judge.hosted import judge_with_service

    if not isinstance(judge, HostedCaptionerConfig):
        raise ConfigError(f"captioner@judge={judge.name} asks no service: expected gemini or openai_compatible.")
    return judge_with_service(data, judge, claims, path, logger)


def _by_model(
    data: DataConfig, model: str, captions: Captions, claims: Mapping[str, Sequence[str]], path: Path
) -> tuple[list[JudgedCaption], str | None]:
    """The alignment of captions and claims with their videos, and the identity of the model."""
    from sg.core.fingerprints import fingerprint
    from sg.models.hub_files import part_identity

    content, manifest = part_identity(model), read_manifest(make_manifest(data))
    journal = judged_path(path, alignment.NAME).with_suffix(".rows.jsonl")
    made_by = fingerprint([captions.content_hash, manifest.content_hash, content])
    rows = alignment.judge_with_model(model, captions, claims, manifest, data.videos_folder, journal, made_by)
    return rows, content


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


def _truth(
    captions: Captions, others: Sequence[Captions], specs: Mapping[str, VideoSpec], is_needed: bool
) -> list[JudgedCaption] | None:
    """The verdicts of the facts; None where they are not known, or cannot read captions that another judge reads."""
    try:
        return list(_by_facts(captions, others, specs)) if specs else None
    except DataError:
        if is_needed:
            raise
        return None


def _by_facts(
    captions: Captions, others: Sequence[Captions], specs: Mapping[str, VideoSpec]
) -> Iterator[JudgedCaption]:
    for video_id, text in captions.items():
        if video_id in specs:
            more = [texts[video_id] for texts in others if video_id in texts] if others else None
            try:
                yield facts.judge_caption(video_id, text, specs[video_id], more)
            except ValueError as error:
                raise DataError(f"The caption of video {video_id!r} is {error}: judge it with a captioner.") from error


def summary(rows: list[JudgedCaption], truth: list[JudgedCaption] | None = None, score: str = "f1") -> str:
    """Mean scores, examples, and how good the judge's `score` is where the `truth` about the captions is known."""
    if not rows:
        raise DataError("No caption was judged: no captioned video is in the manifest.")
    scores = {name: score for name, score in means(rows).items() if not isnan(score)}
    lines = [f"  {name:<12}{score:.4f}  mean over {len(rows):,} captions" for name, score in scores.items()]
    if truth is not None:
        faulty = [FALSE in row.verdicts or bool(row.missing) for row in truth]
        good, bad = (
            [getattr(row, score) for row, is_bad in zip(rows, faulty, strict=True) if is_bad is side]
            for side in (False, True)
        )
        lines.append(f"  {'with fault':<12}{len(bad):,} of {len(rows):,} captions")
        if good and bad:
            lines.append(
                f"  {'AUC':<12}{auc(good, bad):.4f}  of the judge's {score}: captions with a fault against the others"
            )
        if rows is not truth and score == "f1":
            verdicts = ", ".join(f"{name} {value:.3f}" for name, value in agreement(rows, truth).items())
            lines.append(f"  {'verdicts':<12}{verdicts}  of `false`, against the facts")
    false = ((row, claim) for row in rows for claim in row.called(FALSE))
    lines += [f"  false: {claim} ({row.video_id})" for row, claim in islice(false, _EXAMPLES)]
    lines += [f"  missing: {row.missing[0]} ({row.video_id})" for row in rows if row.missing][:_EXAMPLES]
    return "\n".join(lines)
