"""Published Chat-UniVi checkpoints: names, settings and weight files."""
