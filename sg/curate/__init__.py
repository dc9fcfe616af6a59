"""Curation: reads vectors (and captions, if there are any), writes the merge forest, which holds a core of any size.

Start reading at `curate` in `sg.curate.pipeline`; the methods are in `sg.curate.curators`.
"""
