"""What other programs read: checkpoints, and files of answers."""
