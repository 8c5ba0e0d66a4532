"""Files, hashes, records, locks and numbers for all rooms; it knows no CLIP, no video and no settings, and imports no torch."""
