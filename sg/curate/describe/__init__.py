"""What a finished curation looks like: numbers, the map of the space, lists of a core, overlap with a benchmark."""
