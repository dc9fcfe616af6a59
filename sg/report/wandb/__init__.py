"""The study in Weights & Biases: summary run, workspace and report."""
