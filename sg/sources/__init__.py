"""Sources of videos, one file per source in `sets`; each makes a manifest with the same columns."""
