"""Annotation and caption files of other people as streams of records."""
