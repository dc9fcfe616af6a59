"""Hydra plugins: the `process` launcher and the sweeper that completes a sweep with its baseline and controls."""
