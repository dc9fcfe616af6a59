"""The caption step: reads a manifest, writes one caption a video with what wrote it (`captions.parquet`)."""

from sg.caption.run import caption_videos

__all__ = ["caption_videos"]
