"""Judging captions: claims, whether they are true of their videos, and the scores that follow."""
