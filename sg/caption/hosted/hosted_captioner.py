"""What the captioners that ask a service have in common behind `sg.caption.captioners.Captioner`."""

from pathlib import Path

from sg.caption.captioners import CAPTIONERS, Captioner
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.core.errors import MissingInputError
from sg.core.identity import Identity
from sg.core.tracking import LoggerConfig
from sg.sources.config import DataConfig
from sg.sources.manifests import make_manifest
from sg.sources.registry import data_words


class HostedCaptioner(Captioner):
    """Captions that a service is paid for, so only `python -m sg.caption` obtains them, never another step."""

    config: HostedCaptionerConfig

    @property
    def recipe(self) -> Identity:
        """Prompt, model and settings of the answers, and which of them are left out."""
        from sg.caption.hosted.records import captions_recipe
        from sg.caption.hosted.run import recipe_of

        return captions_recipe(recipe_of(self.config))

    def captions(self, data: DataConfig) -> Path:
        """The path of the captions that the service has written; MissingInputError if there are none yet."""
        path = self.place(data)
        if not path.is_file():
            name = CAPTIONERS.name_of(self.config)
            others = self.others(data)
            raise MissingInputError(
                f"There are no captions {path}: python -m sg.caption {data_words(data)} captioner={name} buys them "
                f"(dry_run=true prints their cost first).{f' {others}.' if others else ''}"
            )
        return path

    def caption(self, data: DataConfig, logger: LoggerConfig) -> Path:
        """Ask the service for a caption of every video; see `caption_with_service`."""
        from sg.caption.hosted.run import caption_with_service

        return caption_with_service(data, self.config, make_manifest(data), logger)

    def estimate(self, data: DataConfig, calibrate: int) -> str:
        """What captioning the data costs and takes; with `calibrate`, corrected by the service's own count."""
        from sg.caption.hosted.asking import other_captions
        from sg.caption.hosted.calibration import calibrate as count
        from sg.caption.hosted.run import estimate_run, ledger_path, recipe_of

        others = other_captions(ledger_path(data, self.config), recipe_of(self.config))
        manifest, ratio, notes = make_manifest(data), 1.0, [others]
        if calibrate:
            counted = count(data, self.config, recipe_of(self.config), manifest, calibrate)
            ratio, notes = counted.ratio, [counted.text(), *notes]
        return "\n\n".join([estimate_run(data, self.config, manifest, ratio).text(), *filter(None, notes)])
