"""captioner=gemini_legacy: the Gemini API through google-generativeai, whose support ended in November 2025."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.services.secrets import GEMINI_KEY_VARIABLES, read_key
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.identity import NOT_IDENTITY

if TYPE_CHECKING:
    from sg.caption.hosted.services.gemini_legacy import GeminiLegacy


@dataclass
class GeminiLegacyCaptionerConfig(HostedCaptionerConfig):
    """The settings of captioner=gemini_legacy.

    Attributes:
        python: the Python of an environment with google-generativeai; null takes the current one.
    """

    sends_fps = False

    python: str | None = field(default=None, metadata=NOT_IDENTITY)

    def service(self) -> GeminiLegacy:
        """A client whose requests go through a process of that Python."""
        from sg.caption.hosted.services.gemini_legacy import GeminiLegacy

        return GeminiLegacy(
            read_key(GEMINI_KEY_VARIABLES, self.key_file),
            python=self.python,
            base_url=self.base_url,
            threads=self.max_concurrency,
            timeout_s=self.retry.deadline_s,
        )


CAPTIONERS.register("gemini_legacy", GeminiLegacyCaptionerConfig)(HostedCaptioner)
