"""captioner=openai_compatible: a server of one's own with OpenAI's chat format (vLLM, SGLang, llama.cpp, ...)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sg.caption.captioners import CAPTIONERS
from sg.caption.hosted.hosted_captioner import HostedCaptioner
from sg.caption.hosted.services.secrets import read_key
from sg.caption.hosted.settings import HostedCaptionerConfig, check_address
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_numbers

if TYPE_CHECKING:
    from sg.caption.hosted.services.openai_compatible import OpenAICompatible

KEY_VARIABLES = ("OPENAI_COMPATIBLE_API_KEY",)


@dataclass
class OpenAICompatibleCaptionerConfig(HostedCaptionerConfig):
    """The settings of captioner=openai_compatible and captioner=vllm.

    Attributes:
        servers: addresses of several servers with the same model, instead of `base_url`.
        gpus: GPUs of each server, for its cost in GPU-seconds.
    """

    reads_addresses = True
    reads_paths = True
    sends_fps = False

    api_version: str = field(default="", metadata=NOT_IDENTITY)
    servers: list[str] = field(default_factory=list, metadata=NOT_IDENTITY)
    gpus: int = field(default=1, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers("captioner.", self, gpus=1)
        if self.api_version:
            raise ConfigError(
                f"captioner.api_version={self.api_version} has no effect: write it into captioner.base_url."
            )
        if self.servers and self.base_url:
            raise ConfigError("captioner.base_url and captioner.servers both say who is asked: set one of them.")
        for address in self.servers:
            check_address(address)

    def service(self) -> OpenAICompatible:
        """A client of the server at `base_url`; a key is sent if there is one."""
        from sg.caption.hosted.services.openai_compatible import OpenAICompatible

        servers = self.servers or [self.base_url or ""]
        if not all(servers):
            raise ConfigError("captioner.base_url is the address of your server, such as http://localhost:8000/v1.")
        has_key = self.key_file or any(os.environ.get(name) for name in KEY_VARIABLES)
        key = read_key(KEY_VARIABLES, self.key_file) if has_key else None
        return OpenAICompatible(servers, self.gpus, key, self.retry.deadline_s)


CAPTIONERS.register("openai_compatible", OpenAICompatibleCaptionerConfig)(HostedCaptioner)
