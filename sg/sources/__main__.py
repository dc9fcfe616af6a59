"""Make the manifest of a source: `python -m sg.sources data=folder data.videos=DIR`."""

from sg.core.commands import command
from sg.core.output import show
from sg.sources.config import OF_TRAINING, SourcesConfig
from sg.sources.registry import SOURCES

SOURCES.load()

SCHEMA = 1
"""Version of the JSON that `format=json` prints."""


@command("sources", SourcesConfig, unused=OF_TRAINING)
def main(config: SourcesConfig) -> None:
    """Scan the source and print the path of its manifest."""
    from sg.core.files import read_json
    from sg.sources.manifests import scan
    from sg.sources.scan.report import JSON_FILE

    manifest = scan(config.data)
    report = manifest.parent / JSON_FILE
    record = {"manifest": str(manifest), "report": read_json(report) if report.is_file() else None}
    show("scan_report", SCHEMA, record, lambda: str(manifest), config.format)


if __name__ == "__main__":
    main()
