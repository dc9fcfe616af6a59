"""`sg push` and `sg pull`: artefacts as repositories of a hub, with a card, licences and fingerprints.

Reads a file or folder of artefacts; writes a repository, or a folder from one.
"""
