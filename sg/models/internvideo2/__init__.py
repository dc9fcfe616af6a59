"""InternVideo2's vision tower: published weights in, one vector a video out."""
