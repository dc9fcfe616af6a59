"""ToMe past one machine's memory: tokens lie in shards on disk, each round is a map over shards and one global cut."""
