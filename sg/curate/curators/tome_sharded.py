"""ToMe past the memory of one machine, as a curator (`sg.curate.sharded`)."""

import dataclasses

from sg.artefacts.forest import COLLAPSE_ROUND
from sg.artefacts.vectors import read_vectors_info
from sg.curate.inputs import Curated, CuratorInputs
from sg.curate.registry import CURATORS
from sg.curate.removals import assemble_forest
from sg.curate.sharded.settings import ShardedTomeConfig


@CURATORS.register("tome_sharded", ShardedTomeConfig)
def curate_by_shards(inputs: CuratorInputs, config: ShardedTomeConfig) -> Curated:
    """The merge forest by ToMe over shards on disk, with a record of each round."""
    from sg.curate.sharded.corpus import read_corpus
    from sg.curate.sharded.run import merge_shards

    dim = int(read_vectors_info(inputs.vectors)["dim"])
    corpus = read_corpus(inputs.vectors, dim, inputs.video_ids, inputs.captions, config.seed)
    result = merge_shards(corpus, config, inputs.store.open_folder("shards"), inputs.store)
    details = {
        "exact_duplicates": int((result.removals.round == COLLAPSE_ROUND).sum()),
        "rounds": [dataclasses.asdict(record) for record in result.rounds],
    }
    return Curated(assemble_forest(corpus.ids, result.removals, result.rep_similarity, {}), details)
