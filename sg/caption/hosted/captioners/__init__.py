"""One file per captioner that asks a service: its settings, its client, and its registration."""
