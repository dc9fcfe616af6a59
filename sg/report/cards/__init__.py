"""Data card and model card of a study, filled from its files; what only people know is marked to be completed."""
