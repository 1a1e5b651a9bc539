"""Room 4, what is going on: runs and series in, `Finding`s out."""
