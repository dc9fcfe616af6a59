"""The demo world: a procedural miniature of the study's data, rendered as real H.264 films with captions and questions.

world (what can be in a video) -> render (its pixels), language (its captions, questions, subtitles) -> corpus (which
videos there are) -> build (files on disk). `assets/` holds the small pretrained tower and language model that
`pretrain/` rebuilds from nothing.
"""
