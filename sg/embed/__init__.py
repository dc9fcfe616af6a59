"""The embedding step: reads a manifest and its video files, writes one vector per video (`sg.artefacts.vectors`)."""
