"""Rows of arrays in one HDF5 file: written once, in shards that a killed writer need not repeat, then only read."""
