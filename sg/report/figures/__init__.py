"""The figures of a study, drawn from its numbers."""
