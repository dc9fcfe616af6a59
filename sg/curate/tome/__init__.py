"""Token merging (ToMe) over videos: rounds of bipartite matching from all videos down to one."""
