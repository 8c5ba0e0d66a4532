"""Galleries: the videos of a dataset or a folder as one adapter sees them, in an index that is searched and updated."""
