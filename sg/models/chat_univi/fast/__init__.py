"""Layers of the language model that compute the same in fewer passes over memory."""
