"""One file per benchmark: its settings, and how its folder becomes videos with questions."""
