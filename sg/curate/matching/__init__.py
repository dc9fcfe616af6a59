"""Best matches between two sets of unit vectors: exact, with a bound, within cells, or with faiss."""
