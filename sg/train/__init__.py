"""Training of ONE stage.

Reads dialogs or captions, a core of the merge forest, cached visual tokens and a parent checkpoint; writes
`stages/<stage>-<fingerprint>/`. Which stages a run needs, and in what order, is decided above, in `sg.study`.
"""
