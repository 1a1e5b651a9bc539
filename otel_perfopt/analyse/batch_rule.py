"""What making several calls of one tool as one would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Step, Target, ToolEffects
from otel_perfopt.execution.schedule import Changes


class BatchToolsRule(PlainRule):
    """The read-only calls of one tool in one reply are made as one, which takes as long as the longest of them.

    A bound: whether the tool has a form for many, and how long that takes, no recording says. A call
    that may write ends a batch; calls that failed are made alone.
    """

    optimization = "batch_tools"
    metric = LATENCY
    upper_bound = True

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each tool of the run that one reply asked for several times."""
        found: dict[str, list[tuple[Step, ...]]] = {}
        for asked in run.replies.values():
            for batch in _batches(asked):
                found.setdefault(batch[0].name, []).append(batch)
        return [self._what_if(run, name, batches) for name, batches in sorted(found.items())]

    @staticmethod
    def _what_if(run: RunView, name: str, batches: Sequence[tuple[Step, ...]]) -> WhatIf:
        durations: dict[str, int] = {}
        for batch in batches:
            longest = max(batch, key=lambda step: step.duration_s)
            durations |= {step.span_id: 0 for step in batch if step is not longest}
        calls = tuple(step for batch in batches for step in batch)
        return WhatIf(
            Target(command=run.execution.command.name, tool=name), Changes(durations), run.waited_ns(calls), calls
        )


def _batches(asked: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Yield the calls of one reply that may go together: several of one tool, with no call between that may write."""
    together: dict[str, list[Step]] = {}
    for step in (*sorted(asked, key=lambda call: (call.start_ns, call.end_ns)), None):
        if step is not None and step.effects is ToolEffects.READ:
            if step.error_type is None:
                together.setdefault(step.name, []).append(step)
            continue
        yield from (tuple(steps) for steps in together.values() if len(steps) > 1)
        together = {}
