"""One file per kind of students: settings and registration. Their code is in a folder of `sg/models` each."""
