"""Pages, tables and documents for people: an analysis in, terminal text, HTML and JSON out."""
