"""Ids with a special meaning in prompts, labels and the vocabulary.

See `docs/reference/chat_univi.md`, section 2.
"""

PLACEHOLDER_ID = -200
"""Placeholder of one frame in the ids; a maximal run of them is one clip."""

PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
"""In all Llama vocabularies; unk has the id of pad."""

NO_ID = -1
"""Represents an id that a vocabulary does not have."""
