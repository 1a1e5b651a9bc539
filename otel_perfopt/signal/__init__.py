"""Room 1, telemetry in: spans of any source in, `SpanRecord`s out."""
