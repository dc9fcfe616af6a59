"""The words and pages of a study: tables, verdict, HTML page, gallery."""
