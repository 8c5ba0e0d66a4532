"""Files, hashes, records, locks, numbers and places for all rooms; it knows no CLIP, no video and no settings, and imports no torch."""
