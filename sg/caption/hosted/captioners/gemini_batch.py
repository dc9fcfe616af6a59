"""captioner=gemini_batch: the Gemini API in batch jobs, at half the price, with the ledger of captioner=gemini."""

from __future__ import annotations

from dataclasses import dataclass

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.captioners.gemini import GeminiCaptionerConfig
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.settings import BatchedCaptionerConfig


@dataclass
class GeminiBatchCaptionerConfig(BatchedCaptionerConfig, GeminiCaptionerConfig):
    """The settings of captioner=gemini_batch."""


CAPTIONERS.register("gemini_batch", GeminiBatchCaptionerConfig)(HostedCaptioner)
