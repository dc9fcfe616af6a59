"""`python -m sg.export checkpoint=DIR out=DIR` and `python -m sg.export predictions=FILE benchmark=NAME out=DIR`."""

from pathlib import Path

from sg.core.commands import command
from sg.core.errors import DataError
from sg.export.config import LMMS_EVAL, ExportConfig


def export(config: ExportConfig) -> None:
    """Write a checkpoint or answers in the form of other programs, and print the paths."""
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and is not empty: give out=DIR a new folder.")
    for path in export_answers(config, out) if config.predictions is not None else [export_checkpoint(config, out)]:
        print(path)


def export_checkpoint(config: ExportConfig, out: Path) -> Path:
    """Write the model with its tokenizer to `out`, in the form of the model's own code."""
    from sg.core.files import atomic_dir
    from sg.models.student import STUDENTS

    kind = STUDENTS.of(config.model)
    with atomic_dir(out) as folder:
        kind.export(config.model, str(config.checkpoint), folder)
        kind.processor(config.model, config.checkpoint).save(folder)
    return out


def export_answers(config: ExportConfig, out: Path) -> list[Path]:
    """Write the answers of a file, matched to the questions of the benchmark, to files in `out`."""
    from sg.artefacts.predictions import SETTINGS
    from sg.evaluate.benchmark import read_benchmark
    from sg.evaluate.file_report import read_and_report
    from sg.evaluate.lmms_eval_log import write_logs
    from sg.evaluate.official.files import write_official

    benchmark, paths = read_benchmark(config.benchmark), []
    for report in read_and_report(Path(str(config.predictions)), config.benchmark):
        for setting in SETTINGS:
            rows = [row for row in report.rows if row.setting == setting]
            if rows and config.format == LMMS_EVAL:
                paths += write_logs(out, config.benchmark, benchmark, rows)
            elif rows:
                paths += write_official(out, setting, config.benchmark, benchmark, rows)
    return paths


main = command("export", ExportConfig, sweeps=False)(export)

if __name__ == "__main__":
    main()
