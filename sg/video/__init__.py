"""Decode and sample frames: the only package that imports PyAV, decord and torchcodec."""
