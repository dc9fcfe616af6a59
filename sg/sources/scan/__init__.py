"""The scan: annotation files against the files on disk, every file examined once, and a report."""
