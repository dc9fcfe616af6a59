"""Chat-UniVi v1.5, weight-compatible and numerically equal, on current PyTorch and transformers.

Import from the modules: `config`, `modeling`, `merging`, `processor`, `conversation`, `reference_checkpoint`.
"""
