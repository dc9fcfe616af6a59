"""The curators: one file per curator, with its settings and the function that orders the videos.

`tome` is the method of the study; `tome_sharded` is the same for more vectors than one machine holds. The others are
baselines to compare it with. Each orders all videos, so that cores of any size are nested.
"""
