"""Finished runs as tables, pages, figures and provenance; nothing is computed anew but from what a run has written."""
