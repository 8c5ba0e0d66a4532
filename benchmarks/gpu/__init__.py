"""A check of a GPU: numbers against the CPU's, resuming, and speed, in six minutes and without network, weights or videos."""
