"""Decode and sample frames: the only place that knows PyAV, decord and other readers."""
