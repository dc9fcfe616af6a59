"""Visual tokens: what represents clips in batches, and the store of what was computed once."""
