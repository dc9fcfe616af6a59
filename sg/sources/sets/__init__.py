"""One file per source of videos."""
