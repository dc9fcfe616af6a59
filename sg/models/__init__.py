"""The models: Chat-UniVi (the video LLM under study) and InternVideo2 (video embeddings for curation)."""
