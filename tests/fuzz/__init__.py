"""Broken files at the project's own entries: no traceback, no hang, no crash, and no file under its final name."""
