"""Room 2, one run: `SpanRecord`s in, `Execution`s of `Step`s out."""
