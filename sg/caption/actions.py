"""What `python -m sg.caption [ACTION]` does."""

import dataclasses
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sg.artefacts.buying import buying_text
from sg.artefacts.manifest import Manifest, hash_manifest, read_manifest
from sg.caption.captioners import CaptionerConfig, captioner_of
from sg.caption.config import EXPORT_FORMATS, CaptionConfig
from sg.caption.hosted.asking import bring_up_to_date
from sg.caption.hosted.run import ledger_path, recipe_of, results_folder
from sg.caption.hosted.services.secrets import REDACTION
from sg.caption.hosted.settings import HostedCaptionerConfig
from sg.caption.ledger import reading
from sg.core.errors import ConfigError, MissingInputError
from sg.core.mistakes import listed_lines
from sg.core.output import TEXT, show
from sg.core.tracking import LoggerConfig
from sg.sources.manifests import make_manifest


def act(config: CaptionConfig) -> None:
    """Do `config.action` and print the outcome."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(REDACTION)
    actions = {
        "caption": _caption, "status": _status, "audit": _audit, "export": _export, "judge": _judge, "sheet": _sheet,
        "import": _import, "merge": _merge, "forget": _forget, "doctor": _doctor, "prices": _prices,
    }  # fmt: skip
    actions[config.action](config)


def _caption(config: CaptionConfig) -> None:
    settings = config.captioner
    if config.prompt is not None:
        settings = dataclasses.replace(settings, prompt=config.prompt)
    captioner = captioner_of(settings)
    if config.dry_run:
        print(captioner.estimate(config.data, config.calibrate))
    elif config.video is not None:
        print(captioner.caption_file(Path(config.video)))
    else:
        print(captioner.caption(config.data, _logger(config)))


def _logger(config: CaptionConfig) -> LoggerConfig:
    return config.logger if isinstance(config.logger, LoggerConfig) else LoggerConfig(kind="csv")


def _status(config: CaptionConfig) -> None:
    with _ledger(config, whole=False) as (db, captioner):
        from sg.caption.hosted.status import STATUS_SCHEMA, status, status_text

        record, bought = status(db, recipe_of(captioner)), buying_text(results_folder(config.data, captioner))
        text = "\n".join(filter(None, (status_text(record), bought)))
        show("caption_status", STATUS_SCHEMA, record, lambda: text, config.format or TEXT)


def _audit(config: CaptionConfig) -> None:
    from sg.caption.quality.audit import audit

    with _ledger(config) as (db, captioner):
        folder = ledger_path(config.data, captioner).parent / "audit"
        print(audit(db, recipe_of(captioner), _manifest(config), Path(config.data.videos), folder, config.samples))


def _export(config: CaptionConfig) -> None:
    from sg.caption.exports.journal import check_place, record_export
    from sg.caption.exports.write import export

    if config.out is None:
        raise ConfigError("export needs the file or folder to write: out=PATH.")
    captioner = captioner_of(config.captioner)
    captions = captioner.place(config.data)
    if not captions.is_file() and (others := captioner.others(config.data)):
        raise MissingInputError(f"There are no captions {captions} to export. {others}.")
    ids, kind, out = _ids(config), config.format or EXPORT_FORMATS[0], Path(config.out)
    check_place(Path(config.data.dir), out)
    print(export(captions, _manifest(config), Path(config.data.videos), out, kind, ids, config.videos))
    record_export(Path(config.data.dir), captions, out, kind, ids, config.videos)


def _import(config: CaptionConfig) -> None:
    from sg.caption.local.imported import ImportedCaptionerConfig, import_published

    if config.source is None:
        raise ConfigError("import needs a published caption file: source=sharegemini_webvid_core100k.json.")
    name_map = None if config.name_map is None else Path(config.name_map)
    is_named = isinstance(config.captioner, ImportedCaptionerConfig)
    out = config.data.captions_path(config.captioner.name if is_named else ImportedCaptionerConfig().name)
    print(import_published(Path(config.source), name_map, _manifest(config), out))


def _merge(config: CaptionConfig) -> None:
    from sg.caption.ledger.merge import merge

    captioner = _hosted(config)
    if config.source is None:
        raise ConfigError("merge needs the other ledgers: source=ledger-0of2.sqlite,ledger-1of2.sqlite.")
    others, recipe = _files(config.source), recipe_of(captioner)
    for path in others:
        bring_up_to_date(path, recipe)
    print(merge(ledger_path(config.data, captioner), others))
    with _ledger(config) as (db, _):
        from sg.caption.hosted.records import write_results

        print(
            write_results(db, recipe, results_folder(config.data, captioner), hash_manifest(make_manifest(config.data)))
        )


def _forget(config: CaptionConfig) -> None:
    from sg.caption.forgetting import forget_videos

    ids = _ids(config)
    if ids is None:
        raise ConfigError("forget needs a file with one video id per line: ids=FILE.")
    print(forget_videos(config.data, ids, config.paths))


def _doctor(config: CaptionConfig) -> None:
    from sg.caption.hosted.status import doctor

    print(doctor(config.data, _hosted(config)))


def _judge(config: CaptionConfig) -> None:
    from sg.caption.judge.run import judge_captions

    if config.judge is not None and not isinstance(config.judge, CaptionerConfig):
        raise ConfigError(f"judge={config.judge} should be a captioner: captioner@judge=gemini.")
    union = _files(config.source or "")
    settings = config.data, config.captioner, config.judge, _logger(config)
    print(judge_captions(*settings, model=config.alignment, union=union))


def _sheet(config: CaptionConfig) -> None:
    from sg.caption.judge.facts import NAME
    from sg.caption.judge.sheet import compare_answers, make_sheet

    if config.out is None:
        raise ConfigError("sheet needs the page to write, or that was answered: out=sheet.html.")
    if config.source is not None:
        judge = config.judge.name if config.judge else NAME
        print(compare_answers(Path(config.out), _files(config.source), judge))
    elif not isinstance(config.other, CaptionerConfig):
        raise ConfigError("sheet shows two captioners side by side: name the second one with captioner@other=NAME.")
    else:
        print(make_sheet(config.data, config.captioner, config.other, config.samples, Path(config.out)))


def _prices(config: CaptionConfig) -> None:
    from sg.caption.hosted.price_list import compare_prices

    if config.source is None:
        raise ConfigError("prices needs a price list to compare with: source=litellm-VERSION.whl, or its JSON file.")
    print(compare_prices(Path(config.source), None if config.out is None else Path(config.out)))


def _hosted(config: CaptionConfig) -> HostedCaptionerConfig:
    if not isinstance(config.captioner, HostedCaptionerConfig):
        raise ConfigError(
            f"action={config.action} is for captioners that ask a service, not for captioner={config.captioner.name}: "
            "add captioner=gemini."
        )
    return config.captioner


@contextmanager
def _ledger(config: CaptionConfig, whole: bool = True) -> Iterator[tuple[sqlite3.Connection, HostedCaptionerConfig]]:
    captioner = _hosted(config)
    path = ledger_path(config.data, captioner)
    bring_up_to_date(path, recipe_of(captioner))
    with reading.naming_damage(path), closing(reading.open_for_reading(path, whole)) as db:
        yield db, captioner


def _manifest(config: CaptionConfig) -> Manifest:
    return read_manifest(make_manifest(config.data))


def _ids(config: CaptionConfig) -> list[str] | None:
    if config.ids is None:
        return None
    return [line for line in listed_lines("ids", Path(config.ids), "one video id") if line]


def _files(names: str) -> list[Path]:
    """The files of a setting that separates them by commas."""
    return [Path(name.strip()) for name in names.split(",") if name.strip()]
