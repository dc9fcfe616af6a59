"""captioner=gemini: the Gemini API, through google-genai: one request per video, or batch jobs (`tier=batch`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.prices import TIERS
from sg.caption.hosted.services.secrets import GEMINI_KEY_VARIABLES, read_key
from sg.caption.hosted.settings import HostedCaptionerConfig

if TYPE_CHECKING:
    from sg.caption.hosted.services.gemini_jobs import GeminiJobs


@dataclass
class GeminiCaptionerConfig(HostedCaptionerConfig):
    """The settings of captioner=gemini."""

    tiers = TIERS
    has_file_store = True
    uploads_videos = True
    reads_addresses = True
    counts_tokens = True

    def service(self) -> GeminiJobs:
        """A client of the Gemini API with its file store and its batch jobs."""
        from sg.caption.hosted.services.gemini_jobs import GeminiJobs

        return GeminiJobs(
            read_key(GEMINI_KEY_VARIABLES, self.key_file),
            base_url=self.base_url,
            api_version=self.api_version,
            timeout_s=self.deadline_s,
        )


CAPTIONERS.register("gemini", GeminiCaptionerConfig)(HostedCaptioner)
