"""How much of what tools put into contexts is used afterwards: runs in, the share of their tokens and where the rest went out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analysis import UsefulShare
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.units import Units
from otel_perfopt.execution.model import Execution, Step
from otel_perfopt.signal.digest import flow_values

MAX_VALUES = 4096
MIN_RESULTS = 20


@dataclass(slots=True)
class _Result:
    """A tool's result: tokens, the first call of the model that read it, specific values, and the last use of each."""

    tokens: float
    first_call: int
    values: int
    last_use: dict[str, int] = field(default_factory=dict)

    def carried(self, calls: int) -> float:
        """Return the tokens that were sent for it, in all `calls` of the run."""
        return self.tokens * max(0, calls - self.first_call)

    def useful(self) -> float:
        """Return those of them that stood for a value a reply still used then or later."""
        spans = (last - self.first_call + 1 for last in self.last_use.values() if last >= self.first_call)
        return self.tokens * sum(spans) / self.values


class UsefulResults:
    """Follows the values of each run's tool results to the calls that later replies asked for.

    A result's tokens count in equal parts for its specific values; one is used when an argument of a later
    call has it and it was first seen in that result, or when a reply has it whose content was captured. It is
    useful in every call of the model up to the last reply that used it, and sent for nothing after that. An
    estimate, and of arguments alone a low one: what a reply says in its own words is not seen, nor what another
    run of the conversation uses. Results with no such value, or whose values are not all listed, are not judged.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._units = Units()
        self._results = self._judged = 0
        self._with_replies = False

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        run = RunView.of(execution)
        calls = sorted(run.inferences, key=lambda step: step.start_ns)
        if not calls or not run.tools:
            return
        results = list(self._judgeable(run.tools, [step.start_ns for step in calls]))
        self._results += len(run.tools)
        self._judged += len(results)
        uses = [(number, frozenset(values)) for number, values in self._uses(run.tools, calls)]
        origins = _origins(execution, results, frozenset().union(*(values for _, values in uses)))
        for number, values in uses:
            for value in values & origins.keys():
                result = origins[value]
                if number >= result.first_call:
                    result.last_use[value] = max(result.last_use.get(value, number), number)
        carried = sum(result.carried(len(calls)) for _, result in results)
        useful = sum(result.useful() for _, result in results)
        self._units.add(execution, {"carried": carried, "useful": useful})

    def result(self) -> UsefulShare:
        """Return the share over all runs; None in it where too little could be judged."""
        share = self._units.ratio("useful", "carried", seed=self._seed) if self._judged >= MIN_RESULTS else None
        return UsefulShare(
            share=share,
            results=self._results,
            judged=self._judged,
            carried_tokens=round(self._units.total("carried")),
            with_replies=self._with_replies,
        )

    @staticmethod
    def _judgeable(tools: Iterable[Step], starts: list[int]) -> Iterator[tuple[Step, _Result]]:
        for step in tools:
            tokens = step.attributes.get(c.RESULT_TOKENS)
            read_by = bisect_left(starts, step.end_ns)
            if isinstance(tokens, int | float) and step.outputs and not step.flow_truncated and read_by < len(starts):
                yield step, _Result(float(tokens), read_by, len(step.outputs))

    def _uses(self, tools: Iterable[Step], calls: list[Step]) -> Iterator[tuple[int, Iterable[str]]]:
        """Yield what replies used, each with the number of the call of the model it came from."""
        number_of = {step.span_id: number for number, step in enumerate(calls)}
        starts = [step.start_ns for step in calls]
        for step in tools:
            asked = number_of.get(step.requested_by, bisect_left(starts, step.start_ns) - 1)
            yield asked, step.inputs
        for number, step in enumerate(calls):
            said = step.attributes.get(c.GEN_AI_OUTPUT_MESSAGES)
            if isinstance(said, str):
                self._with_replies = True
                yield number, flow_values(said, MAX_VALUES)[0]


def _origins(
    execution: Execution, results: Iterable[tuple[Step, _Result]], used: frozenset[str]
) -> Mapping[str, _Result]:
    """Return by used value the result in which it was first seen; what the command brought with it came from none."""
    asked = used - execution.command.inputs - execution.command.outputs
    origins: dict[str, _Result] = {}
    for step, result in sorted(results, key=lambda item: item[0].end_ns):
        for value in step.outputs & asked:
            origins.setdefault(value, result)
    return origins
