"""captions.csv as people write it: its cells, its times, and the files that its names mean."""
