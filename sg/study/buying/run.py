"""`captioner.buy=adaptive`: buy the captions of a core, train on them, and decide whether to buy the next one.

`buying.json` beside the ledger of captions records every finished core. A stopped run continues from it; the ledger
buys no caption twice, and a stage that is complete is not trained again.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sg.artefacts.buying import BoughtCore, buying_text, read_cores, write_cores
from sg.artefacts.captions import read_captions
from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.held_out import read_caption_losses
from sg.artefacts.manifest import hash_manifest
from sg.artefacts.result import read_result
from sg.caption.hosted.run import ask_service, estimate_run, ledger_path, recipe_of, results_folder
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.core.errors import ConfigError
from sg.core.fingerprints import fingerprint
from sg.core.scales import scale_label
from sg.sources.manifests import make_manifest
from sg.study.buying.rule import FEWEST, NextCore, forecast
from sg.study.config import TrainConfig, study_identity
from sg.study.core_counts import scales_to_buy
from sg.study.held_out import own_held_out_videos
from sg.study.inputs import locate_inputs, make_vectors_and_forest
from sg.study.planning.captions import check_buying
from sg.study.run import StudyRun

log = logging.getLogger(__name__)


def buy_and_train(run: StudyRun, train: Callable[[StudyRun], object]) -> str:
    """Buy and train core after core; returns what was bought, spent, saved, and why it stopped.

    Args:
        run: its `data.scale` is the largest core.
        train: makes a run, whose result is then in its folder.

    Raises:
        ConfigError: the study cannot compare its cores.
        SgError: a step failed; the same command continues.
    """
    config = run.config
    check_buying(config)
    captioner: HostedCaptionerConfig = config.captioner
    forest, manifest = _forest(config), make_manifest(config.data)
    folder = results_folder(config.data, captioner)
    work = fingerprint([study_identity(config).name, config.seed, forest.content_hash])
    cores, why = read_cores(folder, work), "all captions are bought"
    sizes = list(scales_to_buy(config, len(forest)))
    for scale in [size for size in sizes if not cores or size > cores[-1].scale]:
        if len(cores) >= FEWEST:
            found = _forecast(config, captioner, cores, scale, _usd(config, captioner, manifest, forest, scale))
            log.info("buying: %s", found.text)
            if not found.is_worth_it:
                why = found.text
                break
        cores.append(_core(run, captioner, manifest, forest, scale, train))
        write_cores(folder, work, cores)
    saved = _usd(config, captioner, manifest, forest, sizes[-1])
    write_cores(folder, work, cores, saved_usd=saved, why=why)
    return buying_text(folder)


def _forest(config: TrainConfig) -> Forest:
    if config.data.is_made_on_the_way:
        make_vectors_and_forest(config)
    return read_forest(locate_inputs(config).forest)


def _ids(config: TrainConfig, manifest: Path, forest: Forest, scale: int) -> frozenset[str]:
    """The videos of a core; those of the held-out captions are in none."""
    core = forest.core(min(len(forest), scale * config.data.captions_per_k // 1000))
    return frozenset(core) - own_held_out_videos(config, manifest)


def _usd(config: TrainConfig, captioner: HostedCaptionerConfig, manifest: Path, forest: Forest, scale: int) -> float:
    """What the core costs in addition to the captions in the ledger: at their mean price, without any as estimated."""
    path = ledger_path(config.data, captioner)
    known, spent = set[str](), 0.0
    recipe = recipe_of(captioner)
    if path.is_file():
        with closing(reading.open_for_reading(path)) as db:
            known = {row.video_id for row in reading.results(db, recipe.name)}
            spent = reading.spent_usd(db)
    missing = _ids(config, manifest, forest, scale) - known
    if known:
        return spent / len(known) * len(missing)
    recipe = replace(recipe, only=missing)
    return float(estimate_run(config.data, captioner, manifest, recipe=recipe).usd[captioner.tier])


def _forecast(
    config: TrainConfig, captioner: HostedCaptionerConfig, cores: list[BoughtCore], scale: int, usd: float
) -> NextCore:
    after = cores[-1].captions * scale // cores[-1].scale
    assert captioner.min_gain_per_usd is not None  # checked by the settings
    captions, nats = [core.captions for core in cores], [core.nats for core in cores]
    return forecast(captions, nats, cores[-1].tokens, after, usd, captioner.min_gain_per_usd)


def _core(
    run: StudyRun,
    captioner: HostedCaptionerConfig,
    manifest: Path,
    forest: Forest,
    scale: int,
    train: Callable[[StudyRun], object],
) -> BoughtCore:
    """Buy the captions of a core, and train on them in a study of its own, `<study>-bought-<scale>`."""
    config, label = run.config, scale_label(scale)
    recipe = replace(recipe_of(captioner), only=_ids(config, manifest, forest, scale))
    folder, path = results_folder(config.data, captioner), ledger_path(config.data, captioner)

    def write(ledger: Any) -> Path:
        from sg.caption.hosted.records import write_results

        return write_results(ledger.connection, recipe, folder, hash_manifest(manifest))

    log.info("buying: the captions of %s", label)
    captions = ask_service(config.data, recipe, path, manifest, config.logger, write)
    with closing(reading.open_for_reading(path)) as db:
        spent = reading.spent_usd(db)
    study = f"{run.study}-bought-{label}"
    own = replace(config, data=replace(config.data, scale="all"))
    trained = StudyRun(own, study, run.name, run.folder.parent.with_name(study) / run.name)
    train(trained)
    result = read_result(trained.folder)
    if result.held_out is None:
        raise ConfigError("captioner.buy=adaptive needs held-out captions: data.held_out.videos should be above 0.")
    rows = read_caption_losses(trained.folder, result.held_out)
    have = sum(video_id in recipe.only for video_id in read_captions(captions)) if recipe.only else 0
    return BoughtCore(scale, have, spent, [row.nats for row in rows], [row.tokens for row in rows])
