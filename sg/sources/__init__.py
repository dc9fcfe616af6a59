"""Where videos come from: one file a source; each gives a manifest with the same columns."""
