"""Captioning a manifest through a service: from the settings to the ledger to `captions.parquet`."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sg.artefacts.manifest import hash_manifest, scan_manifest
from sg.artefacts.tables import num_rows
from sg.caption.hosted import pricing
from sg.caption.hosted.asking import ServiceWork, ask, bring_up_to_date
from sg.caption.hosted.engine.addresses import media_of
from sg.caption.hosted.engine.items import CaptionItem, is_in
from sg.caption.hosted.engine.recipe import Recipe
from sg.caption.hosted.prompting import read_prompt
from sg.caption.hosted.records import RECORDS_FILE, write_results
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger.ledger import Ledger
from sg.caption.ledger.merge import answered_keys
from sg.caption.ledger.recipes import task_key
from sg.core.errors import ConfigError, DataError
from sg.core.places.ranges import size_of
from sg.core.tracking import LoggerConfig
from sg.sources.config import CAPTIONS_FOLDER, DataConfig

Result = TypeVar("Result")


def recipe_of(config: HostedCaptionerConfig) -> Recipe:
    """The prompt and the settings of a captioner, checked against each other."""
    prompt = read_prompt(config.prompt)
    if config.language not in (None, prompt.language):
        raise ConfigError(
            f"captioner.prompt={config.prompt} asks for captions in {prompt.language!r} (its front matter), and "
            f"captioner.language={config.language} rejects them: set captioner.language={prompt.language}, or null."
        )
    if prompt.asks_claims:
        raise ConfigError(
            f"captioner.prompt={config.prompt} has {{claims}}, so it is a prompt of a judge (judge.prompt)."
        )
    return Recipe(config, prompt)


def ledger_path(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """The ledger of a captioner's captions; every shard has its own."""
    which, count = config.shard_of
    name = "ledger.sqlite" if count == 1 else f"ledger-{which}of{count}.sqlite"
    return data.captions_path(config.name).parent / name


def results_folder(data: DataConfig, config: HostedCaptionerConfig) -> Path:
    """The folder of the captions; every shard has its own, so that no shard replaces the captions of another."""
    which, count = config.shard_of
    folder = data.captions_path(config.name).parent
    return folder if count == 1 else folder / f"shard-{which}of{count}"


def estimate_run(
    data: DataConfig,
    config: HostedCaptionerConfig,
    manifest: Path,
    input_ratio: float = 1.0,
    recipe: Recipe | None = None,
) -> pricing.CostEstimate:
    """What captioning the data takes, without a request; `input_ratio` as in `pricing.estimate`.

    Videos whose captions a mix copies from the ledgers of its sources are not counted.
    """
    recipe = recipe or recipe_of(config)
    known = {key for path in _part_ledgers(data, config, recipe) for key in answered_keys(path, recipe.name)}
    items = (item for item in _items(recipe, manifest) if task_key(item.item_key, recipe.name) not in known)
    videos = (pricing.EstimatedVideo(item.duration_s, item.has_audio, _size(data, item)) for item in items)
    return pricing.estimate(config, videos, datetime.datetime.now(datetime.UTC).date(), input_ratio)


def _items(recipe: Recipe, manifest: Path) -> Iterator[CaptionItem]:
    """The items of the shard."""
    items = (item for record in scan_manifest(manifest) if (item := recipe.item(record)) is not None)
    return (item for item in items if is_in(item, recipe.config.shard_of))


def caption_with_service(data: DataConfig, config: HostedCaptionerConfig, manifest: Path, logger: LoggerConfig) -> Path:
    """Caption the videos of the manifest, or continue an earlier run; returns the path of the captions.

    Raises:
        ConfigError, SgError, KeyboardInterrupt: see `ask_service`; the captions so far are written.
    """
    recipe, folder, manifest_hash = recipe_of(config), results_folder(data, config), hash_manifest(manifest)

    def write(ledger: Ledger) -> Path:
        return write_results(ledger.connection, recipe, folder, manifest_hash)

    path = ask_service(data, recipe, ledger_path(data, config), manifest, logger, write)
    if not path.is_file() and num_rows(path.with_name(RECORDS_FILE)):
        raise DataError(
            f"There is no file {path}: more than captioner.max_duplicates={config.max_duplicates} videos share "
            "the text of every caption."
        )
    return path


def ask_service(
    data: DataConfig,
    recipe: Recipe,
    path: Path,
    manifest: Path,
    logger: LoggerConfig,
    write: Callable[[Ledger], Result],
) -> Result:
    """Ask a service about the videos of the manifest; see `ask`."""
    config = recipe.config
    work = ServiceWork(
        recipe=recipe,
        items=lambda: _items(recipe, manifest),
        media=lambda: media_of(data, config),
        estimate=lambda: estimate_run(data, config, manifest, recipe=recipe),
        title=f"{recipe.words.command} {data.name}",
        folder=data.captions_path(config.name).parent,
        known=_part_ledgers(data, config, recipe),
    )
    return ask(work, path, logger, write)


def _part_ledgers(data: DataConfig, config: HostedCaptionerConfig, recipe: Recipe) -> list[Path]:
    """Ledgers of this captioner for the data sets that a mix is drawn from."""
    folders = (folder / CAPTIONS_FOLDER / config.name for folder in data.part_folders)
    paths = [path for folder in folders for path in sorted(folder.glob("ledger*.sqlite"))]
    for path in paths:
        bring_up_to_date(path, recipe)
    return paths


def _size(data: DataConfig, item: CaptionItem) -> int:
    """Bytes of a video file, from the manifest or from the disk; 0 if the file or the folder is missing."""
    if item.size or not item.path:
        return item.size
    try:
        return size_of(Path(data.videos) / item.path)
    except OSError:
        return 0
