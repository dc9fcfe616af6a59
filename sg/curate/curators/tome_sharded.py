"""ToMe past the memory of one machine, as a curator (`sg.curate.sharded`)."""

import dataclasses
import os
from pathlib import Path

from sg.artefacts.forest import COLLAPSE_ROUND
from sg.artefacts.vectors import read_vectors_info
from sg.core.errors import ConfigError
from sg.core.places.mirror import address_of
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import assemble_forest
from sg.curate.sharded.settings import ShardedTomeConfig


@CURATORS.register("tome_sharded", ShardedTomeConfig)
def curate_by_shards(inputs: CuratorInputs, config: ShardedTomeConfig) -> Curated:
    """The merge forest by ToMe over shards on disk, with a record of each round.

    Raises:
        ConfigError: a cluster of other machines would have to see a folder that stands for an address.
    """
    from sg.curate.sharded.corpus import read_corpus
    from sg.curate.sharded.run import merge_shards

    is_spread = config.engine == "ray" and bool(os.environ.get("RAY_ADDRESS"))
    if is_spread:
        _check_common(inputs.vectors)
    dim = int(read_vectors_info(inputs.vectors)["dim"])
    corpus = read_corpus(inputs.vectors, dim, inputs.video_ids, inputs.captions, config.seed)
    folder = inputs.store.open_folder("shards")
    if is_spread:
        _check_common(folder)
    result = merge_shards(corpus, config, folder, inputs.store)
    details = {
        "exact_duplicates": int((result.removals.round == COLLAPSE_ROUND).sum()),
        "rounds": [dataclasses.asdict(record) for record in result.rounds],
    }
    return Curated(assemble_forest(corpus.ids, result.removals, result.rep_similarity, {}), details)


def _check_common(folder: Path) -> None:
    """Refuse a folder that stands for an address: every node would have another copy of it."""
    if (address := address_of(folder)) is not None:
        raise ConfigError(
            f"curator.engine=ray with curator=tome_sharded needs folders that all nodes of RAY_ADDRESS see, and "
            f"{address} is an address: set paths.work and data.dir to such a folder, or curator.engine=local."
        )
