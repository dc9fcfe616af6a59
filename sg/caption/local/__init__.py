"""Captioners that run in this process, and captions that exist already."""
