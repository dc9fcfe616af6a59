"""Data card and model card of a study, filled from its files; lines that only people can write are marked ✎."""
