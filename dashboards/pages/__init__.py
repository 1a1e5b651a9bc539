"""One dashboard a file, each answering one question."""
