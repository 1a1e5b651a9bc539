"""Questions to a store that ClickHouse answers itself, one a file: a store and a window in, rows out."""
