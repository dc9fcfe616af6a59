"""Buying captions in nested cores, and no further than they are worth their money."""
