"""The card of a dataset: what this copy of it is, as facts, in words and as a page; never how a method does on it."""
