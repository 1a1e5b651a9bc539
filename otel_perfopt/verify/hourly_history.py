"""What commands took, hour by hour: runs in, the sums that before and after a change are compared by out."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from otel_perfopt.execution.model import Execution
from otel_perfopt.verify import metric_kind
from otel_perfopt.verify.before_after import HOUR_NS, BeforeAfter, LoggedValues, before_after_sums
from otel_perfopt.verify.units import cost_usd

MAX_COMMANDS = 200
# Half a year: two seasons of weeks are long gone by then.
MAX_HOURS = 24 * 182
_Sums = OrderedDict[int, tuple[int, float]]


class HourlyHistory:
    """Sums of logarithms by command, metric and hour (UTC), in bounded memory; the oldest are forgotten.

    All runs of a command count, whatever arm they were in: that is what before and after mean.
    """

    def __init__(self) -> None:
        self._hours: OrderedDict[tuple[str, str], _Sums] = OrderedDict()

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        start_ns, command = execution.command.start_ns, execution.command.name
        for metric, value in _values(execution):
            if value is not None and math.isfinite(value) and value > 0.0:
                self._add((command, metric), start_ns // HOUR_NS, math.log(value))

    def before_after(self, commands: Sequence[str], metric: str, change_ns: int) -> BeforeAfter | None:
        """Return how `metric` changed at `change_ns` over all runs of the commands (globs; none: every command).

        Descriptive. The hour of the change itself is left out. None where either side is too short, or
        where the metric is not kept (`latency`, `tokens` and `cost_usd` are).
        """
        return before_after_sums(self._sums(commands, metric, change_ns), change_ns)

    def _sums(self, commands: Sequence[str], metric: str, change_ns: int) -> Iterator[LoggedValues]:
        for (command, kept), hours in self._hours.items():
            if kept == metric and (not commands or any(fnmatchcase(command, pattern) for pattern in commands)):
                for hour, (count, total) in hours.items():
                    if hour != change_ns // HOUR_NS:
                        yield LoggedValues(hour * HOUR_NS, count, total)

    def _add(self, key: tuple[str, str], hour: int, value: float) -> None:
        hours = self._hours.setdefault(key, OrderedDict())
        self._hours.move_to_end(key)
        if len(self._hours) > 3 * MAX_COMMANDS:
            self._hours.popitem(last=False)
        count, total = hours.get(hour, (0, 0.0))
        hours[hour] = (count + 1, total + value)
        if len(hours) > MAX_HOURS:
            del hours[min(hours)]


def _values(execution: Execution) -> Iterator[tuple[str, float | None]]:
    yield metric_kind.LATENCY, execution.duration_s if execution.timed else None
    total = execution.tokens.total
    yield metric_kind.TOKENS, None if total is None else float(total)
    yield metric_kind.COST_USD, cost_usd(execution)
