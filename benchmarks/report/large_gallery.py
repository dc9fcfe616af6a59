"""Measures the gallery of a large core on synthetic clusters: time to write, size without pictures, first paint.

python benchmarks/report/large_gallery.py --videos 530000 --core 50000 --out work/large-gallery
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PROBE = """
addEventListener("load", () => setTimeout(() => {
  const paints = performance.getEntriesByType("paint").map((entry) => `${entry.name} ${entry.startTime.toFixed(0)} ms`);
  const began = performance.now();
  scrollTo(0, document.body.scrollHeight / 2);
  requestAnimationFrame(() => requestAnimationFrame(() => console.log(
    `PROBE ${paints.join(", ")}; rows after a jump to the middle: ${document.querySelectorAll(".row").length}, ` +
    `${(performance.now() - began).toFixed(0)} ms; ${document.getElementById("count").textContent}`)));
}, 500));
"""


def write_corpus(folder: Path, videos: int) -> None:
    """Write a forest of `videos` rows with captions of 100 words each, drawn from 20,000 words, without video files."""
    from sg.artefacts.captions import CaptionRecord, write_captions
    from sg.artefacts.forest import Forest, subtree_sizes, write_forest
    from sg.artefacts.manifest import VideoRecord, write_manifest

    generator = np.random.default_rng(0)
    ids = [f"webvid-{number:08d}" for number in range(videos)]
    rows = np.arange(videos)
    parent = np.minimum(rows + 1 + (generator.pareto(0.6, videos) * 50).astype(np.int64), videos - 1)
    parent[-1] = -1
    similarity = np.where(parent >= 0, np.linspace(0.99, 0.4, videos), np.nan).astype(np.float32)
    rounds = np.where(parent >= 0, rows // 10_000, -2).astype(np.int32)
    forest = Forest(ids, parent, similarity, rounds, subtree_sizes(parent), similarity)
    write_forest(folder / "forest.parquet", forest)
    words = np.array([f"word{number}" for number in range(20_000)])
    texts = (" ".join(words[(generator.pareto(1.0, 100) * 5).astype(int) % 20_000]) for _ in ids)
    write_captions(
        folder / "captions.parquet", (CaptionRecord(name, text) for name, text in zip(ids, texts, strict=True))
    )
    write_manifest(folder / "manifest.parquet", (VideoRecord(name, "webvid", f"{name}.mp4") for name in ids))


def first_paint(folder: Path) -> str:
    """Open the page from disk in Chromium with a measuring script; return what the script reports."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    (folder / "probe.js").write_text(PROBE, encoding="utf-8")
    probed = folder / "probed.html"
    probed.write_text(page.replace("</body>", '<script src="probe.js"></script></body>'), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder.parent / 'chromium'}", "--remote-debugging-port=0", "--window-size=1100,900"]
    child = subprocess.Popen([*command, f"file://{probed.resolve()}"], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        found = (re.search(r"PROBE ([^\"]*)", line) for line in child.stderr)
        return next(match[1] for match in found if match)
    finally:
        child.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=530_000)
    parser.add_argument("--core", type=int, default=50_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    from sg.report.numbers.clusters import StudyInputs
    from sg.report.pages.gallery import write_gallery

    corpus, gallery = options.out / "corpus", options.out / "gallery"
    if not (corpus / "manifest.parquet").is_file():
        write_corpus(corpus, options.videos)
    inputs = StudyInputs(
        corpus / "manifest.parquet", corpus / "forest.parquet", corpus / "videos", corpus / "captions.parquet"
    )
    started, cpu = time.monotonic(), time.process_time()
    written = write_gallery(gallery, inputs, options.core, pictures=0)
    print(f"{written.clusters:,} clusters in {time.monotonic() - started:.0f} s, {time.process_time() - cpu:.0f} CPU s")
    loaded = sum((gallery / name).stat().st_size for name in ("index.html", "gallery.js", "clusters.js"))
    members = sum(path.stat().st_size for path in (gallery / "members").iterdir())
    print(f"page without pictures {loaded / 1e6:.2f} MB; captions loaded while scrolling {members / 1e6:.0f} MB")
    print(first_paint(gallery) if shutil.which("chromium") else "chromium is not installed: first paint not measured")


if __name__ == "__main__":
    main()
