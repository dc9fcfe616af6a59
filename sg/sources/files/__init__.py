"""Files on disk: which exist, what each holds, which are copies, and clips made from shards and long videos."""
