"""The manifest of any data, made when it does not exist yet."""

from pathlib import Path

from sg.sources.config import DataConfig
from sg.sources.registry import SOURCES


def make_manifest(config: DataConfig) -> Path:
    """Return the path of the data's manifest; scan first if the manifest is missing or may be out of date.

    A published dataset is taken as its last scan left it (`DataConfig.has_current_manifest`); a folder of videos and
    the demo world are compared with the disk each time.

    Raises:
        MissingInputError: there is no manifest, and the files that a scan needs do not exist.
    """
    return config.manifest_path if config.has_current_manifest else scan(config)


def scan(config: DataConfig) -> Path:
    """Make the manifest of the data, or keep it when nothing has changed since it was made; returns its path.

    Raises:
        MissingInputError: video files, annotations or sources do not exist.
    """
    return SOURCES.of(config)(config)
