"""The card of an exported dataset folder."""

from collections.abc import Sequence


def dataset_card(sources: Sequence[str], count: int, models: Sequence[str]) -> str:
    """A README with the front matter that the hub reads: one configuration per source."""
    configs = "\n".join(
        f"  - config_name: {source}\n    data_files:\n      - split: train\n        path: data/{source}/*.parquet"
        for source in sources
    )
    size = next(
        label
        for limit, label in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e12, "n>1M"))
        if count < limit
    )
    written = ", ".join(models)
    return f"""---
license: other
license_name: see-below
task_categories:
  - video-text-to-text
language:
  - en
size_categories:
  - {size}
configs:
{configs}
---

# Video captions

{count:,} captions of public videos ({", ".join(sources)}), written by {written}. One row per video: `video_id`,
`source`, the file's `path` below the source's folder, `caption`, and its provenance. The dataset contains no
video, link or frame.

## Terms

The videos belong to others, and each source has its own terms: WebVid's authors withdrew it in 2024 and allowed
research use only; the videos of Kinetics-400 and InternVid belong to their uploaders; HD-VILA-100M is for
non-commercial research. The terms of the service that wrote the captions apply as well. Choose the licence of this
dataset accordingly; the captions of the ShareGemini release are CC BY-NC 4.0.

## Limits

A model wrote the captions from the video alone. Automatic gates checked them, people did not. They can be wrong, and
they describe people. `python -m sg.caption forget` removes a video, here too.
"""
