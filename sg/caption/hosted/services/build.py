"""The service of a captioner's config."""

from __future__ import annotations

from sg.caption.hosted.services.records import Service
from sg.caption.hosted.services.secrets import Secret, read_key
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import ConfigError


def build_service(config: HostedCaptionerConfig) -> Service:
    """A client that is ready to ask; the key is read here and nowhere else.

    Raises:
        ConfigError: there is no key, or no address of one's own server.
    """
    timeout_s = config.retry.deadline_s
    if config.kind == "openai_compatible":
        from sg.caption.hosted.services.openai_compatible import KEY_VARIABLES as OWN_VARIABLES
        from sg.caption.hosted.services.openai_compatible import OpenAICompatible

        if not config.base_url:
            raise ConfigError("captioner.base_url is the address of your server, such as http://localhost:8000/v1.")
        return OpenAICompatible(config.base_url, _optional_key(OWN_VARIABLES, config.key_file), timeout_s)
    from sg.caption.hosted.services.gemini import KEY_VARIABLES

    key = read_key(KEY_VARIABLES, config.key_file)
    if config.kind == "gemini_legacy":
        from sg.caption.hosted.services.gemini_legacy import GeminiLegacy

        return GeminiLegacy(
            key,
            python=config.python,
            base_url=config.base_url,
            threads=config.max_concurrency,
            timeout_s=timeout_s,
        )
    from sg.caption.hosted.services.gemini_jobs import GeminiJobs

    return GeminiJobs(key, base_url=config.base_url, api_version=config.api_version, timeout_s=timeout_s)


def _optional_key(variables: tuple[str, ...], key_file: str | None) -> Secret | None:
    import os

    return read_key(variables, key_file) if key_file or any(os.environ.get(name) for name in variables) else None
