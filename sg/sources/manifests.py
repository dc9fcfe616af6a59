"""The manifest of any data, made when it is not there yet."""

from __future__ import annotations

from pathlib import Path

from sg.core.errors import MissingInputError
from sg.sources.config import AnnotatedDataConfig, DataConfig, DemoDataConfig, FolderDataConfig, MixDataConfig


def make_manifest(config: DataConfig) -> Path:
    """The path of the data's manifest, after making it when it is missing.

    The demo world and a folder of clips are also looked at again for what changed; a published set is taken as its last
    scan left it, because walking through half a million films takes minutes on a network's disk, and so is a mix unless
    it was drawn with other settings.

    Raises:
        MissingInputError: there is no manifest and no way to make it.
    """
    if isinstance(config, MixDataConfig):
        from sg.sources.sets.mix import is_drawn

        return config.manifest_path if is_drawn(config) else scan(config)
    if isinstance(config, AnnotatedDataConfig) and config.manifest_path.is_file():
        return config.manifest_path
    return scan(config)


def scan(config: DataConfig) -> Path:
    """Make the manifest of the data, or leave it when nothing changed since; gives its path.

    Raises:
        MissingInputError: the films, annotations or sources are not there.
    """
    if isinstance(config, DemoDataConfig):
        from sg.demo.build import build_demo_world

        return build_demo_world(config.world, Path(config.dir))
    if isinstance(config, FolderDataConfig):
        from sg.sources.sets.folder import scan_folder

        return scan_folder(config)
    if isinstance(config, AnnotatedDataConfig):
        from sg.sources.scan.annotated import scan_annotated

        return scan_annotated(config)
    if isinstance(config, MixDataConfig):
        from sg.sources.sets.mix import draw_mix

        return draw_mix(config)
    if not config.manifest_path.is_file():
        raise MissingInputError(f"There is no manifest {config.manifest_path}: give its folder with data.dir=DIR.")
    return config.manifest_path
