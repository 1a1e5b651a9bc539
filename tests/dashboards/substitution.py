"""An expression as a dashboard holds it in, as Grafana would send it out: its variables filled in."""

from __future__ import annotations

import re

# `All` of a variable is its all-value; the interval is what a 30-second step of a young server can bear.
VALUES = {"service": ".*", "policy": ".*", "__rate_interval": "30s", "__range": "5m", "__interval": "10s"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def substituted(expression):
    """Return the expression with every variable replaced; an unknown one is an error."""
    return _VARIABLE.sub(lambda found: VALUES[found[1] or found[2]], expression)
