"""What more money buys: runs in, commands for which a cheaper model or effort did as well out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from otel_perfopt.analyse.finding import Effect, Evidence, Finding, Interval, Suggestion
from otel_perfopt.analyse.group_difference import share_difference, unit_means
from otel_perfopt.analyse.run_row import RunRow, RunRows, run_row
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import UNSTATED_MODEL
from otel_perfopt.analyse.wording import percent, percent_range
from otel_perfopt.execution.model import Execution, Target

MIN_RUNS = 20
MIN_SAVING = 0.1
# So much more failure (of all runs) must be ruled out before the cheaper choice counts as good enough.
MARGIN = 0.05
RESAMPLES = 1000
MAX_COMMANDS = 20
# The words of effort that a policy may ask for.
EFFORTS = frozenset({"none", "minimal", "low", "medium", "high"})


@dataclass(frozen=True, slots=True)
class _Choice:
    """One command with two ways to spend: the runs of the dearer and of the cheaper one."""

    command: str
    what: str
    dear: str
    cheap: str
    dear_rows: list[RunRow]
    cheap_rows: list[RunRow]


class Allocation:
    """Compares the models, and the reasoning efforts, that one command ran with: cost against success.

    Claimed is a cheaper one whose failures are surely no more than five in a hundred above the
    dearer one's, and which surely costs less. Which run got which is as it was chosen, so hard
    tasks may have gone to the dearer: only a trial tells.
    """

    name = "allocation"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rows = RunRows()

    def observe(self, execution: Execution) -> None:
        """Take one run into account; one without a cost says nothing."""
        if RunView.of(execution).inferences:
            row = RunView.of(execution).derive(run_row)
            if row.cost_usd is not None:
                self._rows.add(row)

    def findings(self) -> list[Finding]:
        """Return one finding for each command and kind of choice where the cheaper did as well."""
        commands = sorted(self._rows.by_command().items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_COMMANDS]
        choices = [choice for command, rows in commands for choice in _choices(command, rows)]
        level = 1 - 0.05 / max(1, len(choices))
        found = [self._judged(choice, level) for choice in choices]
        return [finding for finding in found if finding is not None]

    def _judged(self, choice: _Choice, level: float) -> Finding | None:
        groups = (choice.cheap_rows, choice.dear_rows)
        failures = [unit_means((row.conversation, float(not row.succeeded)) for row in group) for group in groups]
        worse = share_difference(*failures, level=level)
        saving = self._saving(choice, level)
        if worse is None or worse.high > MARGIN or saving is None or saving.low <= 0 or saving.estimate < MIN_SAVING:
            return None
        return self._finding(choice, saving, worse)

    def _saving(self, choice: _Choice, level: float) -> Interval | None:
        cheap, dear = (
            np.array(unit_means((row.conversation, row.cost_usd or 0.0) for row in rows))
            for rows in (choice.cheap_rows, choice.dear_rows)
        )
        if dear.mean() <= 0:
            return None
        rng = np.random.default_rng(self._seed)
        drawn = [rng.choice(costs, (RESAMPLES, costs.size)).mean(axis=1) for costs in (cheap, dear)]
        ratios = drawn[0][drawn[1] > 0] / drawn[1][drawn[1] > 0]
        low, high = np.quantile(ratios, ((1 - level) / 2, (1 + level) / 2))
        return Interval(float(1 - cheap.mean() / dear.mean()), float(1 - high), float(1 - low), level)

    def _finding(self, choice: _Choice, saving: Interval, worse: Interval) -> Finding:
        costs = [fmean(row.cost_usd or 0.0 for row in rows) for rows in (choice.dear_rows, choice.cheap_rows)]
        model = choice.what == "model"
        return Finding(
            kind="allocation",
            target=Target(command=choice.command, model=choice.dear if model else ""),
            summary=(
                f"Runs of {choice.command or 'the agent'} with {choice.what} {choice.cheap or '(not stated)'} cost "
                f"{percent_range(saving)} less than with {choice.dear or '(not stated)'} ({costs[1]:.3g} against "
                f"{costs[0]:.3g} USD) and fail {percent(abs(worse.estimate))} {'more' if worse.estimate > 0 else 'less'} "
                f"often (at most {percent(worse.high)} more); as runs were assigned, not as a trial would."
            ),
            detector=self.name,
            effect=Effect("cost_usd", "USD", saving, saving.times(costs[0])),
            occurrences=len(choice.dear_rows),
            runs=len(choice.dear_rows) + len(choice.cheap_rows),
            evidence=tuple(
                Evidence(row.trace_id, row.span_id, row.location, f"{row.cost_usd:.3g} USD")
                for row in sorted(choice.dear_rows, key=lambda row: -(row.cost_usd or 0.0))[:5]
            ),
            suggestion=_suggestion(choice),
        )


def _suggestion(choice: _Choice) -> Suggestion:
    match = {"command": (choice.command or "*",)}
    if choice.what == "effort":
        return Suggestion("effort_routing", {"effort": choice.cheap} if choice.cheap in EFFORTS else {}, match)
    return Suggestion("model_routing", {"model": choice.cheap}, match | {"model": (choice.dear,)})


def _choices(command: str, rows: list[RunRow]) -> Iterator[_Choice]:
    kinds: tuple[tuple[str, Callable[[RunRow], str]], ...] = (
        ("model", lambda row: row.model),
        # Efforts are compared within the command's commonest model.
        ("effort", lambda row: row.effort if row.model == common else ""),
    )
    common = max({row.model for row in rows}, key=lambda name: (sum(row.model == name for row in rows), name))
    for what, of in kinds:
        groups: dict[str, list[RunRow]] = {}
        for row in rows:
            if of(row) and of(row) != UNSTATED_MODEL:
                groups.setdefault(of(row), []).append(row)
        large = {name: group for name, group in groups.items() if len(group) >= MIN_RUNS}
        if len(large) > 1:
            ordered = sorted(large, key=lambda name: (fmean(row.cost_usd or 0.0 for row in large[name]), name))
            used = max(ordered[1:], key=lambda name: len(large[name]))
            yield _Choice(command, what, used, ordered[0], large[used], large[ordered[0]])
