"""Where the work runs: in processes of this machine, or on a Ray cluster. Both write the same bytes."""
