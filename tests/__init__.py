"""Tests; they share the cores as whole processes, so each and all that it starts computes on one thread."""

import os

# Before anything imports torch, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
