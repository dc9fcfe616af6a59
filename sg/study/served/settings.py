"""Settings of `evaluate.py served=URL`: what is sent to the server, and within which limits."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sg.caption.hosted.captioners.openai_compatible import OpenAICompatibleCaptionerConfig
from sg.caption.hosted.prices import PriceConfig
from sg.caption.hosted.settings import QuotaConfig, ServiceModelConfig
from sg.core.errors import ConfigError
from sg.core.identity import NOT_IDENTITY
from sg.core.mistakes import check_choice, renamed

IMAGES, VIDEO = "images", "video"
JPEG, PNG = "jpeg", "png"
MOST_LOGPROBS = 20
MOST = 10_000
"""Frames of a video, and pixels of a side: more is a mistake that would fill the memory."""
_OWN = PriceConfig(0, 0, source="own server", read_on="2026-11-22")
_HERE = ("localhost", "127.0.0.1", "::1")


def _own_server() -> ServiceModelConfig:
    return ServiceModelConfig(name="", prices=[_OWN], tokens_per_frame={"unspecified": 256.0}, max_output_tokens=32768)


@dataclass
class ServerConfig(OpenAICompatibleCaptionerConfig):
    """How a server is asked. Its address is `served`, its model `model.name`.

    Attributes:
        model: prices and tokens of the model, for the budget; its name is set by `model.name`.
        media: `images` sends the frames that this program samples, `video` the whole file, which the server samples.
        frames: number of frames, one of each of as many equal parts of a video; null samples as `model` does. A
            benchmark that prescribes frames has its own.
        short_side: frames are made smaller until their shorter side has this many pixels; null leaves them as they are.
        picture: jpeg (quality 95) or png, which is lossless.
        logprobs: number of likeliest first tokens to ask for, for the probabilities of the letters; 0 asks for none.
    """

    name: str = field(default="server", metadata=NOT_IDENTITY)
    base_url: str | None = field(default=None, metadata=NOT_IDENTITY)
    model: ServiceModelConfig = field(default_factory=_own_server)
    quota: QuotaConfig = field(
        default_factory=lambda: QuotaConfig(rpm=None, tpm=None, usd_per_10_min=None), metadata=NOT_IDENTITY
    )
    canary: int = field(default=0, metadata=NOT_IDENTITY)
    max_concurrency: int = field(default=16, metadata=NOT_IDENTITY)
    # An answer of another model is not recorded as one, so it is asked again.
    retry_states: list[str] = field(default_factory=lambda: ["rejected"], metadata=NOT_IDENTITY)
    media: str = IMAGES
    frames: int | None = None
    short_side: int | None = 448
    picture: str = JPEG
    logprobs: int = MOST_LOGPROBS

    def __post_init__(self) -> None:
        """Refuse impossible settings. A server on this machine is nobody else's, so it may get the videos."""
        with renamed({"captioner.base_url": "served", "captioner.": "server."}):
            super().__post_init__()
        check_choice("server.media", self.media, (IMAGES, VIDEO))
        check_choice("server.picture", self.picture, (JPEG, PNG))
        if not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise ConfigError(f"server.logprobs={self.logprobs} should be from 0 to {MOST_LOGPROBS}.")
        for name in ("frames", "short_side"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                raise ConfigError(f"server.{name}={value} should be from 1 to {MOST:,}, or null.")
        if self.base_url is not None and urlsplit(self.base_url).hostname in _HERE:
            self.i_have_rights = True
