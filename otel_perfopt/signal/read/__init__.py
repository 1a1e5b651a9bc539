"""Recorded telemetry in: files of any kind in, whole traces of `SpanRecord`s out."""
