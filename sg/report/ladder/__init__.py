"""The ladder: studies that differ in the model, or in a choice of data, compared over model size and captions."""
