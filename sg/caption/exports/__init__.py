"""Exports: the released layout, training conversations, WebDataset shards, a Hugging Face folder."""
