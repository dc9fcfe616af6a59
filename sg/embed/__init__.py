"""The embedding step: reads a manifest and its films, writes one vector a video (`sg.artefacts.vectors`)."""
