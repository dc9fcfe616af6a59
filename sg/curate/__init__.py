"""Curation: reads vectors (and captions, where there are some), writes the merge forest that holds a core of any size.

`curate` in `sg.curate.pipeline` is the way in; `tome` is the study's method, the others are what it is compared with.
"""
