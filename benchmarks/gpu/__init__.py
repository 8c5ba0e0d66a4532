"""A check of a GPU: its numbers against the CPU's, the same bits after a stop, and its speed; without network, weights or videos."""
