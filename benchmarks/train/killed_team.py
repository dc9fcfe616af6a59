"""Two processes train a tiny stage, and one of them is killed in the middle; compared with an undisturbed process.

    python benchmarks/train/killed_team.py

The second process kills itself with SIGKILL after an optimiser step; the team is then started again. The table shows
the largest difference of the loss curve and of a weight from those of the single process. It takes about two minutes
of CPU time. Measured on two busy cores: 160 seconds, and for both strategies differences of 4.8e-07 in the loss and
7.5e-09 in a weight. The traceback of the first process ("Connection reset by peer") is expected: it reports the end of
the other.
"""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from sg.artefacts.checkpoint import LOSS_FILE, read_stage_info
from sg.models.chat_univi.build import load_checkpoint
from sg.train.callbacks import read_losses
from sg.train.processes import run_together

STAGE: dict[str, Any] = {"count": 42, "batch_size": 8, "micro_batch_size": 2, "loss_samples": 4}


def train(folder: Path, name: str, size: int, **settings: Any) -> int:
    kill = {"kill_at": settings.pop("kill_at")} if "kill_at" in settings else {}
    stage = {
        "name": name,
        "stage": STAGE,
        "trainer": {"devices": size, "checkpoint_every_steps": 2, **settings},
        **kill,
    }
    return run_together([sys.executable, "-m", "tests.train.member", str(folder), json.dumps([stage])], size)


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assert train(folder, "alone", 1) == 0
        losses = read_losses(folder / "alone" / LOSS_FILE)
        weights = load_checkpoint(str(folder / "alone")).state_dict()
        print("killed after step 3 of 6, started again", flush=True)
        for strategy in ("ddp", "fsdp"):
            killed = train(folder, strategy, 2, strategy=strategy, kill_at=3)
            assert killed == -signal.SIGKILL and read_stage_info(folder / strategy) is None
            assert train(folder, strategy, 2, strategy=strategy) == 0
            again = read_losses(folder / strategy / LOSS_FILE)
            state = load_checkpoint(str(folder / strategy)).state_dict()
            loss = max(abs(one - other) for one, other in zip(losses, again, strict=True))
            weight = max(float((weights[key] - state[key]).abs().max()) for key in weights)
            print(f"{strategy:6} loss {loss:.1e}   weight {weight:.1e}", flush=True)


if __name__ == "__main__":
    main()
