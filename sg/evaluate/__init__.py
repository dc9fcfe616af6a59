"""Evaluation: asks a model the questions of a benchmark.

Reads a benchmark (table, videos, subtitles), a model and its visual tokens; writes `predictions.jsonl`, scores and the
official result file.
"""
