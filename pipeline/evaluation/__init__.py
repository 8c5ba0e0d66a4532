"""From a split to vectors, similarities, ranks, metrics and tests; nothing is trained, and nothing is drawn."""
