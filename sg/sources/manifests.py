"""The manifest of any data, made when it is not there yet."""

from __future__ import annotations

from pathlib import Path

from sg.core.errors import MissingInputError
from sg.sources.config import DataConfig, DemoDataConfig, FolderDataConfig


def make_manifest(config: DataConfig) -> Path:
    """The path of the data's manifest, after making what is missing or changed.

    The demo world is rendered, a folder is scanned; any other data must have its manifest already.

    Raises:
        MissingInputError: there is no manifest and no way to make it.
    """
    if isinstance(config, DemoDataConfig):
        from sg.demo.build import build_demo_world

        return build_demo_world(config.world, Path(config.dir))
    if isinstance(config, FolderDataConfig):
        from sg.sources.folder import scan_folder

        return scan_folder(config)
    if not config.manifest_path.is_file():
        raise MissingInputError(f"There is no manifest {config.manifest_path}: give its folder with data.dir=DIR.")
    return config.manifest_path
