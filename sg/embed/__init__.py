"""The embedding step: reads a manifest and its films, writes one vector a video (Parquet parts and `embeddings.json`)."""

from sg.embed.run import embed_videos

__all__ = ["embed_videos"]
