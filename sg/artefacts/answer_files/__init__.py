"""Files of answers: ours, official result files, and those of other evaluation programs."""
