"""The demo world: a procedural miniature of the data, with H.264 video files, captions, questions and subtitles.

`world` says what a video can show, `render` draws its pixels, `language` writes its captions, questions and subtitles,
`corpus` draws the videos of a world, `build` writes the files. `assets/` holds the small pretrained vision tower and
language model; `pretrain/` trains them from scratch.
"""
