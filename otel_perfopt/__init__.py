"""Makes LLM agents faster and cheaper with evidence: an OpenTelemetry extension."""

__version__ = "0.1.0"
