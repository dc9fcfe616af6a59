"""Training of ONE stage.

Reads dialogs or captions, a core of the merge forest, cached visual tokens and a parent checkpoint; writes
`stages/<stage>-<fingerprint>/`. `sg.study` decides which stages a run needs, and in what order.
"""
