"""Damage every kind of finished artefact of a small demo study, and count what its next reader does.

    python benchmarks/damage/flips.py --flips 60 --zeros 60

The study is made first. Then one bit of a random file of a kind is flipped, or 1024 of its bytes are set to zero, the
function that reads this kind next is called, and the file is restored. A fault is *reported* (an error of one sentence
that names the file or its folder), *made again* (the reader refuses the file, so that its step makes it again), or
*silent*.
"""

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sg.core.errors import SgError  # noqa: E402

REPORTED, MADE_AGAIN, SILENT = "reported", "made again", "SILENT"
ZEROED_BYTES = 1024
SETTINGS = [
    "data.scale=50k", "logger=csv", "data.world.videos_per_k=1", "data.world.align_clips=24",
    "data.world.instruct_clips=16", "data.world.benchmark_videos=4",
]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of artefact: its files, and its next reader, which returns False if it will make the artefact again."""

    name: str
    files: Sequence[Path]
    read: Callable[[], bool]


def flipped(data: bytes, draw: random.Random) -> bytes:
    """`data` with one bit flipped."""
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


def zeroed(data: bytes, draw: random.Random) -> bytes:
    """`data` with 1024 bytes set to zero, or all of them in a smaller file."""
    at = draw.randrange(max(1, len(data) - ZEROED_BYTES))
    return (data[:at] + bytes(ZEROED_BYTES) + data[at + ZEROED_BYTES :])[: len(data)]


def outcomes(kind: Kind, fault: Callable[[bytes, random.Random], bytes], count: int, seed: int) -> Counter[str]:
    """What the reader of a kind did after each of `count` faults."""
    draw, counts = random.Random(f"{seed} {kind.name} {fault.__name__}"), Counter[str]()
    while counts.total() < count:
        path = draw.choice(kind.files)
        whole = path.read_bytes()
        damaged = fault(whole, draw)
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        try:
            counts[SILENT if kind.read() else MADE_AGAIN] += 1
        except SgError as error:
            counts[REPORTED if path.name in str(error) or str(path.parent) in str(error) else SILENT] += 1
        finally:
            path.write_bytes(whole)
    return counts


def study_kinds(folder: Path) -> Iterator[Kind]:
    """The kinds of artefacts of the study that `make_study` made in `folder`."""
    from hydra import compose, initialize_config_dir
    from transformers.utils import logging as transformers_logging

    from sg.artefacts.arms import REGISTRATION_FILE, read_registration
    from sg.artefacts.captions import read_captions
    from sg.artefacts.checkpoint import read_stage_info
    from sg.artefacts.held_out import HELD_OUT_FILE
    from sg.artefacts.judged import judged_path, read_judged
    from sg.artefacts.manifest import read_manifest
    from sg.artefacts.result import read_answers_of, read_result
    from sg.artefacts.vectors import read_vectors, read_vectors_info
    from sg.artefacts.visual_tokens.store import VisualTokenStore
    from sg.core.commands import typed
    from sg.core.files import read_json
    from sg.curate.pipeline import captions_for, curation_identity, is_curated
    from sg.embed.parts import part_state, plan_parts
    from sg.embed.registry import embedding_identity
    from sg.models.chat_univi.build import load_checkpoint
    from sg.study.config import TrainConfig
    from sg.study.inputs import locate_inputs

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = typed(compose("train", overrides=[*SETTINGS, *places(folder)]), TrainConfig)
    inputs = locate_inputs(config)
    (study,) = [path.parent for path in (folder / "runs").glob("demo_scaling-*/study.json")]
    (run,) = study.glob("50k*-seed0")
    names = [f"{name}-{made.fingerprint}" for name, made in read_result(run).stages.items()]
    stages = [folder / "work" / "stages" / name for name in names]
    token_folders = sorted(path.parent for path in (folder / "work").glob("visual_tokens/*/visual_tokens.json"))

    def read_stages() -> bool:
        return all(load_checkpoint(str(stage)) and read_stage_info(stage) for stage in stages)

    def read_tokens() -> bool:
        stores = map(VisualTokenStore, token_folders)
        return all(len(store[key].facts.frame_indices) for store in stores for key in store)

    manifest, embedding = read_manifest(inputs.manifest), embedding_identity(config.embedder)
    parts = plan_parts(manifest, inputs.videos, embedding, config.embedder.rows_per_part)

    def read_curation() -> bool:
        captions = captions_for(config.curator, inputs.captions)
        work = curation_identity(config.curator, inputs.vectors, captions, None, "error")
        return is_curated(inputs.forest, work)

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    yield Kind("manifest", [inputs.manifest], lambda: bool(len(read_manifest(inputs.manifest))))
    yield Kind("captions", [inputs.captions], lambda: bool(len(read_captions(inputs.captions))))
    yield Kind(
        "vectors", sorted(inputs.vectors.glob("part-*.parquet")), lambda: bool(read_vectors(inputs.vectors).video_ids)
    )
    yield Kind(
        "records of the embedding", sorted(inputs.vectors.glob("part-*.json")),
        lambda: all(part_state(inputs.vectors, part, inputs.videos).is_done for part in parts),
    )  # fmt: skip
    yield Kind("embeddings.json", [inputs.vectors / "embeddings.json"], lambda: bool(read_vectors_info(inputs.vectors)))
    yield Kind("forest", [inputs.forest], read_curation)
    yield Kind("record of the curation", [inputs.forest.parent / "curation.json"], read_curation)
    yield Kind("weights of a stage", [stage / "model.safetensors" for stage in stages], read_stages)
    others = [path for stage in stages for path in stage.iterdir() if path.is_file() and path.suffix != ".safetensors"]
    yield Kind("other files of a stage", sorted(others), read_stages)
    kept = sorted(path for tokens in token_folders for path in tokens.iterdir() if path.name[0] != ".")
    yield Kind("visual tokens", [path for path in kept if path.suffix == ".safetensors"], read_tokens)
    yield Kind("index of visual tokens", [path for path in kept if path.suffix != ".safetensors"], read_tokens)
    yield Kind("predictions", [run / "predictions.jsonl"], lambda: bool(read_answers_of(run, read_result(run))))
    yield Kind("held-out losses", [run / HELD_OUT_FILE], lambda: bool(read_json(run / HELD_OUT_FILE)["captions"]))
    yield Kind("result.json", [run / "result.json"], lambda: bool(read_result(run)))
    yield Kind("study.json", [study / "study.json"], lambda: bool(read_json(study / "study.json")))
    judged = judged_path(inputs.captions, "facts")
    yield Kind("judged captions", [judged], lambda: bool(list(read_judged(judged))))
    yield Kind("registration.json", [study / REGISTRATION_FILE], lambda: bool(read_registration(study)))


def places(folder: Path) -> list[str]:
    """Settings that keep all files of the study in `folder`."""
    return [
        f"paths.{key}={folder / name}" for key, name in (("work", "work"), ("runs", "runs"), ("demo_world", "world"))
    ]


def make_study(folder: Path) -> None:
    """Run the study that is damaged afterwards, a study of another student, and a judge of the captions."""
    from sg.artefacts.arms import Registration, write_registration

    environment = os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    world = [setting for setting in SETTINGS if setting.startswith("data.world.")]
    for command in (
        ["train.py", *SETTINGS],
        ["train.py", "name=other_student", "model=tiny_qwen3_vl", "stage.instruct.epochs=1", *SETTINGS],
        ["-m", "sg.caption", "judge", "data=demo", "captioner=demo", *world],
    ):
        whole = [sys.executable, *command, *places(folder)]
        subprocess.run(whole, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    (study,) = [path.parent for path in (folder / "runs").glob("demo_scaling-*/study.json")]
    write_registration(
        study, Registration("caption effect", "accuracy", "demo", "without_subtitles", ["0", "50k"], [0], 1.0, "a rule")
    )


def main() -> None:
    """Print one line for each kind and fault; exit with 1 if any fault was silent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=60)
    parser.add_argument("--zeros", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", type=Path, help="folder of an earlier study of this script")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    folder = options.study or Path(tempfile.mkdtemp(prefix="damage-"))
    if options.study is None:
        make_study(folder)
    print(f"{'':26}{'fault':14}{REPORTED:>10}{MADE_AGAIN:>12}{SILENT:>8}")
    silent = 0
    for kind in study_kinds(folder):
        for fault, count, label in ((flipped, options.flips, "one bit"), (zeroed, options.zeros, "1024 zeros")):
            found = outcomes(kind, fault, count, options.seed)
            silent += found[SILENT]
            print(f"{kind.name:26}{label:14}{found[REPORTED]:10}{found[MADE_AGAIN]:12}{found[SILENT]:8}", flush=True)
    sys.exit(1 if silent else 0)


if __name__ == "__main__":
    main()
