"""The controller's codes in, the words and colours that dashboards show out."""

from __future__ import annotations

from otel_perfopt import conventions as c

Codes = dict[int, tuple[str, str]]
# Neither good nor bad, readable on light and dark.
GREY = "#8e99a4"

_STATES = {
    "new": ("new", GREY),
    "dormant": ("planned: dormant", GREY),
    "proposed": ("planned", GREY),
    "awaiting approval": ("planned: needs approval", "yellow"),
    "shadow": ("testing: shadow", "blue"),
    "canary": ("testing: canary", "super-light-blue"),
    "active": ("active", "green"),
    "inconclusive": ("inconclusive", "orange"),
    "rolled back": ("rolled back", "red"),
    "rejected": ("rejected", "purple"),
    "retired": ("retired", GREY),
    "killed": ("killed", "dark-red"),
}
_VERDICTS = {
    "waiting": ("not enough data yet", GREY),
    "better": ("better", "green"),
    "inconclusive": ("inconclusive", "orange"),
    "worse": ("worse", "red"),
}
_GUARDRAILS = {"harmed": ("harmed", "red"), "not shown": ("not shown yet", GREY), "held": ("held", "green")}
_RISKS = {"low": ("low", "green"), "medium": ("medium", "yellow"), "high": ("high", "red")}

STATES: Codes = {code: _STATES[word] for word, code in c.STATE_CODES.items()}
VERDICTS: Codes = {code: _VERDICTS[word] for word, code in c.VERDICT_CODES.items()}
GUARDRAILS: Codes = {code: _GUARDRAILS[word] for word, code in c.GUARDRAIL_CODES.items()}
RISKS: Codes = {code: _RISKS[word] for word, code in c.RISK_CODES.items()}
OPTIMIZING: Codes = {0: ("on", "green"), 1: ("switched off", "red")}
KILL_SWITCH: Codes = {0: ("not pulled", "green"), 1: ("pulled", "red")}
HEALTH: Codes = {0: ("cannot be written", "red"), 1: ("healthy", "green")}
