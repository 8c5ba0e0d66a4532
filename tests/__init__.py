"""Tests; they share the cores as whole processes, so each and all that it starts computes on one thread."""

import os

# Before anything imports torch, which reads them once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A stage may have two. Where two stages share two cores, threads that wait for each other must not keep the cores for it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
