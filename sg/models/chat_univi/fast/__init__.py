"""Faster implementations of layers of the language model, with equal results up to rounding."""
