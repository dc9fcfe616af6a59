"""Before a run: what it will do and cost, and why a step is reused or made again."""
