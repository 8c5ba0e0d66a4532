"""The workflow: one form a rule (*.smk), and what the forms ask before anything runs; no torch, and nothing that computes a result."""
