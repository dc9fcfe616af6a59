"""captioner=openai_compatible: a server of one's own with OpenAI's chat format (vLLM, SGLang, llama.cpp, ...)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.services.secrets import read_key
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY

if TYPE_CHECKING:
    from sg.caption.hosted.services.openai_compatible import OpenAICompatible

KEY_VARIABLES = ("OPENAI_COMPATIBLE_API_KEY",)


@dataclass
class OpenAICompatibleCaptionerConfig(HostedCaptionerConfig):
    """The settings of captioner=openai_compatible."""

    reads_addresses = True

    api_version: str = field(default="", metadata=NOT_IDENTITY)

    def service(self) -> OpenAICompatible:
        """A client of the server at `base_url`; a key is sent if there is one."""
        from sg.caption.hosted.services.openai_compatible import OpenAICompatible

        if not self.base_url:
            raise ConfigError("captioner.base_url is the address of your server, such as http://localhost:8000/v1.")
        has_key = self.key_file or any(os.environ.get(name) for name in KEY_VARIABLES)
        key = read_key(KEY_VARIABLES, self.key_file) if has_key else None
        return OpenAICompatible(self.base_url, key, self.retry.deadline_s)


CAPTIONERS.register("openai_compatible", OpenAICompatibleCaptionerConfig)(HostedCaptioner)
