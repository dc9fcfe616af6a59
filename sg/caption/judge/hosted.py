"""A service as a judge: a video and the claims of its caption go out, a verdict on each claim comes back.

Requests go through the engine of captions with a ledger of their own beside the captions, so verdicts are bought once,
within quotas and budget, and a stopped run resumes.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from sg.artefacts.judged import FALSE, TRUE, UNCLEAR, JudgedCaption
from sg.artefacts.manifest import VideoRecord
from sg.caption.hosted.engine.items import CaptionItem, item_of
from sg.caption.hosted.engine.media import MediaFile
from sg.caption.hosted.engine.recipe import Recipe, Words
from sg.caption.hosted.prompting import read_prompt
from sg.caption.hosted.run import ask_service
from sg.caption.hosted.services.records import Answer, Request
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.caption.ledger.ledger import SUCCEEDED, Ledger
from sg.caption.quality.gates import PASS, REJECT, Verdict
from sg.core.errors import ConfigError
from sg.core.fingerprints import fingerprint
from sg.core.mistakes import renamed
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest

PROMPT = "judge_en"
_LINE = re.compile(rf"^\W*(\d+)\W+({TRUE}|{FALSE}|{UNCLEAR})\b", re.IGNORECASE | re.MULTILINE)
_TOKENS_PER_LETTER, _TOKENS_PER_LINE, _PROMPT_TOKENS = 0.3, 5, 150


@dataclass(frozen=True)
class JudgeRecipe(Recipe):
    """A judge's settings, its prompt, and the claims that it judges, by video."""

    claims: Mapping[str, Sequence[str]]
    words: ClassVar[Words] = Words("judge", "Judging", "videos", "verdict")

    def item(self, record: VideoRecord) -> CaptionItem | None:
        """The video with its claims in its key: other claims are another task. None for a video without claims."""
        item = item_of(record)
        if not self.claims.get(record.video_id):
            return None
        return replace(item, item_key=fingerprint([item.item_key, list(self.claims[record.video_id])]) * 4)

    def request(self, item: CaptionItem, file: MediaFile, uri: str, tries: dict[str, int]) -> Request:
        """The video, and the numbered claims."""
        request = super().request(item, file, uri, tries)
        lines = "\n".join(f"{number}. {claim}" for number, claim in enumerate(self.claims[item.video_id], start=1))
        return replace(request, user=request.user.replace("{claims}", lines))

    def examine(
        self, answer: Answer, item: CaptionItem, file: MediaFile | None
    ) -> tuple[str, dict[str, Any] | None, tuple[Verdict, ...]]:
        """The verdicts as JSON; an answer without exactly one verdict per claim is rejected."""
        found = {int(number): verdict.lower() for number, verdict in _LINE.findall(answer.text)}
        count = len(self.claims[item.video_id])
        is_whole = sorted(found) == list(range(1, count + 1))
        text = json.dumps([found[number] for number in sorted(found)])
        return text, None, (Verdict("verdicts", PASS if is_whole else REJECT, float(len(found))),)


def judge_with_service(
    data: DataConfig,
    judge: HostedCaptionerConfig,
    claims: Mapping[str, Sequence[str]],
    captions: Path,
    logger: LoggerConfig,
) -> list[JudgedCaption]:
    """The verdicts of a service on these claims about videos of the data, in their order; some may be missing.

    Args:
        data: the data with the videos.
        judge: the settings of the captioner that judges.
        claims: by video id.
        captions: the file of the captions; the ledger is in a folder beside it.
        logger: where the run logs its metrics.

    Raises:
        ConfigError, SgError: as for captions (`sg.caption.hosted.run.ask_service`).
    """
    if judge.prompt == HostedCaptionerConfig.prompt:
        judge = replace(judge, prompt=PROMPT)
    letters = fmean(len(" ".join(texts)) for texts in claims.values())
    lines = fmean(map(len, claims.values()))
    judge = replace(
        judge,
        assumed_prompt_tokens=_PROMPT_TOKENS + round(_TOKENS_PER_LETTER * letters + _TOKENS_PER_LINE * lines),
        assumed_output_tokens=round(_TOKENS_PER_LINE * lines),
    )
    prompt = read_prompt(judge.prompt)
    if not prompt.asks_claims:
        raise ConfigError(
            f"judge.prompt={judge.prompt} needs {{claims}} in its section '# user': nothing is judged without."
        )
    recipe = JudgeRecipe(judge, prompt, claims)
    path = captions.with_name(f"judged-{judge.name}") / "ledger.sqlite"

    def verdicts(ledger: Ledger) -> list[JudgedCaption]:
        return list(_judged(ledger, recipe))

    with renamed({"captioner.": "judge."}):
        return ask_service(data, recipe, path, make_manifest(data), logger, verdicts)


def _judged(ledger: Ledger, recipe: JudgeRecipe) -> Iterator[JudgedCaption]:
    name = f"{recipe.config.name} ({recipe.config.model.name})"
    for row in reading.results(ledger.connection, recipe.name, SUCCEEDED):
        claims, verdicts = tuple(recipe.claims[row.video_id]), tuple(json.loads(row.text))
        yield JudgedCaption(row.video_id, name, claims, verdicts, cost_usd=float(row.record["cost_usd"]))
