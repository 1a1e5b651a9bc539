"""The telemetry store: spans in, ClickHouse SQL over the Collector's `otel_traces` table out."""
