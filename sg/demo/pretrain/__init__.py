"""Rebuilds the committed assets from nothing: `python -m sg.demo.pretrain`."""
