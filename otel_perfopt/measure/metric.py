"""The metrics that are measured of every run and step: their names and units, nothing else."""

from __future__ import annotations

from typing import Final

# Of every step and of every run (kind `command`), once each.
DURATION: Final = "duration_s"
SELF_TIME: Final = "self_time_s"
CRITICAL_PATH: Final = "critical_path_s"
ERRORS: Final = "errors"  # 0 or 1: a step's error, a run's failure
COST: Final = "cost_usd"

# Of every model call that states them, and of every run as a sum.
TOKENS_INPUT: Final = "tokens.input"  # of a call: the size of its context
TOKENS_OUTPUT: Final = "tokens.output"
TOKENS_CACHE_READ: Final = "tokens.cache_read"
TOKENS_CACHE_WRITE: Final = "tokens.cache_write"
TOKENS_REASONING: Final = "tokens.reasoning"
TOKENS_RESENT: Final = "tokens.resent"

# The bases of shares: only what states the part counts towards the whole.
INPUT_WITH_CACHE_READ: Final = "tokens.input.cache_read_stated"
INPUT_WITH_RESENT: Final = "tokens.input.resent_stated"
OUTPUT_WITH_REASONING: Final = "tokens.output.reasoning_stated"

# Of every run.
THINKING_TIME: Final = "thinking_s"  # time on the critical path
TOOL_CALLS: Final = "tool_calls"
MODEL_CALLS: Final = "model_calls"

UNITS: Final = {
    DURATION: "s",
    SELF_TIME: "s",
    CRITICAL_PATH: "s",
    THINKING_TIME: "s",
    COST: "USD",
    ERRORS: "1",
    TOOL_CALLS: "{call}",
    MODEL_CALLS: "{call}",
    TOKENS_INPUT: "{token}",
    TOKENS_OUTPUT: "{token}",
    TOKENS_CACHE_READ: "{token}",
    TOKENS_CACHE_WRITE: "{token}",
    TOKENS_REASONING: "{token}",
    TOKENS_RESENT: "{token}",
    INPUT_WITH_CACHE_READ: "{token}",
    INPUT_WITH_RESENT: "{token}",
    OUTPUT_WITH_REASONING: "{token}",
}
