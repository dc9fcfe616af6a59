"""Best matches between two sets of unit vectors: exact, by a bound, within cells, or by faiss."""
