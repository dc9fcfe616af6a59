"""The embedders: one file per kind of model, with its settings and the class that loads it and makes vectors."""
