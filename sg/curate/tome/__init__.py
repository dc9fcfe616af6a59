"""ToMe as a curator: rounds of bipartite matching from all videos down to one."""
