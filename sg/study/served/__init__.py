"""The questions of a benchmark, asked of a model behind a server with OpenAI's chat format."""
