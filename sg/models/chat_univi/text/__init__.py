"""Encodes dialogs as token ids and labels."""
