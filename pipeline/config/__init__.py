"""params.yaml as checked dataclasses, under protocols and recipes, and which methods and datasets there are; no torch."""
