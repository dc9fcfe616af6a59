"""The caption step: reads a manifest, writes one caption a video with what wrote it (`captions.parquet`)."""
