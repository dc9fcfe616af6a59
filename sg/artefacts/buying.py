"""`buying.json`: the cores whose captions `captioner.buy=adaptive` bought, what they cost, and why it stopped."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sg.core.files import read_record, write_record
from sg.core.scales import scale_label

BUYING_FILE = "buying.json"


@dataclass(frozen=True, slots=True)
class BoughtCore:
    """A core that was bought and trained on.

    Attributes:
        scale: as `data.scale`; `captions`: how many of its videos have a caption.
        spent_usd: dollars that the ledger counts so far.
        nats, tokens: loss and tokens of each held-out caption after training on the core.
    """

    scale: int
    captions: int
    spent_usd: float
    nats: list[float]
    tokens: list[int]

    @property
    def loss(self) -> float:
        """The held-out loss in nats per token."""
        return sum(self.nats) / sum(self.tokens)


def read_cores(folder: Path, work: str) -> list[BoughtCore]:
    """The cores of an earlier run of this name in the folder of the ledger."""
    record = read_record(folder / BUYING_FILE)
    return [BoughtCore(**core) for core in record.get("cores", [])] if record.get("work") == work else []


def write_cores(folder: Path, work: str, cores: Sequence[BoughtCore], **end: Any) -> None:
    """Record the cores so far; at the end also `saved_usd` and `why` it stopped."""
    write_record(folder / BUYING_FILE, {"work": work, "cores": [asdict(core) for core in cores], **end})


def buying_text(folder: Path) -> str:
    """The record in words; empty without one."""
    record = read_record(folder / BUYING_FILE)
    cores = [BoughtCore(**core) for core in record.get("cores", [])]
    lines = [
        f"  core of {scale_label(core.scale)}: {core.captions:,} captions, ${core.spent_usd:,.4f} spent so far, "
        f"held-out loss {core.loss:.4f}"
        for core in cores
    ]
    if "why" in record:
        end = f"${cores[-1].spent_usd:,.4f} spent, ${record['saved_usd']:,.4f} saved: {record['why']}"
        lines.append(f"  buying stopped: {end}")
    return "\n".join(lines)
