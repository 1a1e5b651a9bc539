"""Where the values that calls use came from: tool calls as they end in, the calls a next one took values from out."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from otel_perfopt.execution.model import Step

# Beyond this many calls with cut outputs, one that followed all of them stands for them.
_MAX_OPEN_CUTS = 64


def same_reply(first: Step, second: Step) -> bool:
    """Tell whether one reply of the model surely asked for both, so that neither could use the other's result."""
    asked = bool(first.requested_by) and first.requested_by == second.requested_by
    return asked and bool(first.call_id) and bool(second.call_id)


class ValueFlow:
    """Where each value was first seen: in a call's outputs, before any (None), or in one of the first `n` cut outputs.

    `known` values were there before the first call; only those in `asked`, which has every input of a
    call that will be asked about, are followed.
    """

    def __init__(self, known: Iterable[str], asked: frozenset[str]) -> None:
        self._asked = asked
        self._origins: dict[str, Step | int | None] = dict.fromkeys(asked.intersection(known))
        self._cut: list[Step] = []
        self._covered = 0
        self._cover: Step | None = None
        self._listed: dict[str, Step] = {}

    def needed(self, step: Step) -> set[str]:
        """Return the span ids of ended calls whose outputs `step` used, or may have used."""
        providers: dict[str, Step] = {}
        unclear = 0
        if _inputs_unknown(step):
            unclear = len(self._cut)
            providers.update(self._listed)
        for value in step.inputs:
            origin = self._origins.setdefault(value, len(self._cut) or None)
            if isinstance(origin, int):
                unclear = max(unclear, origin)
            elif origin is not None:
                providers[origin.span_id] = origin
        if unclear and self._cover is not None:
            providers[self._cover.span_id] = self._cover
        for cut in self._cut[self._covered : unclear]:
            providers[cut.span_id] = cut
        return {span_id for span_id, provider in providers.items() if not same_reply(provider, step)}

    def ended(self, step: Step, followed: Collection[str]) -> None:
        """Take into account that `step` ended, which itself depended on `followed`."""
        # Results hold thousands of values, arguments a few.
        for value in step.outputs & self._asked:
            self._origins.setdefault(value, step)
        if _inputs_unknown(step):
            for span_id in followed:
                self._listed.pop(span_id, None)
        self._cover_cuts(step, followed)
        if step.flow_truncated:
            self._cut.append(step)
        else:
            self._listed[step.span_id] = step

    def _cover_cuts(self, step: Step, followed: Collection[str]) -> None:
        if len(self._cut) - self._covered <= _MAX_OPEN_CUTS:
            return
        follows_cover = self._cover is None or self._cover.span_id in followed
        if follows_cover and all(cut.span_id in followed for cut in self._cut[self._covered :]):
            self._covered = len(self._cut)
            self._cover = step


def _inputs_unknown(step: Step) -> bool:
    return step.flow_truncated and not step.inputs and not step.outputs
