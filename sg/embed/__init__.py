"""The embedding step: reads a manifest and its films, writes one vector a video (`sg.artefacts.vectors`)."""

from sg.embed.run import embed_videos

__all__ = ["embed_videos"]
