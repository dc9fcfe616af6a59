"""Trains the committed assets from scratch: `python -m sg.demo.pretrain`."""
