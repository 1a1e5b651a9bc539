"""What most rules have in common: no parameters and nothing against them, unless they say otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from otel_perfopt.execution.model import Target


class PlainRule:
    """A rule whose policy needs no parameters and that the recordings never speak against."""

    upper_bound = False

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return nothing: the defaults do it."""
        del target
        return {}

    def safe(self, target: Target) -> bool:
        """Tell that nothing in the recordings speaks against it."""
        del target
        return True
