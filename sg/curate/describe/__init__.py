"""Descriptions of a finished curation: statistics, a map of the embedding space, lists of a core, contamination."""
