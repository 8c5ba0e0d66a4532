"""Galleries of videos, indexed once per adapter and searched; scores are those of evaluation, and nothing is trained."""
