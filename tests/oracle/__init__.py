"""Counts made straight from raw recordings, sharing no code with the package: what its numbers are checked against."""
