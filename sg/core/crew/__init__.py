"""Work on the nodes of a Ray cluster, which share nothing but addresses."""
