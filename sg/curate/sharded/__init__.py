"""ToMe beyond the memory of one machine: tokens lie in shards on disk; a round maps over shards and makes one cut."""
