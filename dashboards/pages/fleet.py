"""Fleet and overhead: who reports, what this package costs and drops, and whether the controller is well."""

from __future__ import annotations

from typing import Any

from dashboards import codes
from dashboards import query as q
from dashboards.page import Section, page
from dashboards.panel import Query, bars, lines, numbers
from otel_perfopt import conventions as c

_JOB = "{{job}}"
_LEASE_LEFT = f"{q.greatest(q.gauge(c.METRIC_SNAPSHOT_TIME))} + {q.greatest(q.gauge(c.METRIC_SNAPSHOT_LEASE))} - time()"


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "fleet",
        "Agents: fleet and our own overhead",
        "Who reports, what this package costs and drops, and whether the controller is well.",
        (
            Section("Agents", _agents()),
            Section("What we cost and lose", _overhead()),
            Section("Controller", _controller()),
        ),
    )


def _agents() -> tuple[Any, ...]:
    return (
        lines(
            "Processes that report",
            "Instances of each service with telemetry in the time of one step.",
            "short",
            Query(f"count by (job) (rate({q.counter(c.METRIC_OVERHEAD, q.AGENTS)}[{q.WINDOW}]))", _JOB),
            width=8,
        ),
        lines(
            "Memory of a process",
            "Resident, as commands end: the 95th percentile.",
            "bytes",
            Query(q.quantile(0.95, c.METRIC_MEMORY, "job"), _JOB),
            width=8,
        ),
        lines(
            "Pauses of the garbage collector",
            "Seconds a command loses to them: mean.",
            "s",
            Query(q.mean(c.METRIC_GC_PAUSE, c.COMMAND_NAME), "{{" + q.label(c.COMMAND_NAME) + "}}"),
            width=8,
        ),
        bars(
            "Modules that take longest to load",
            "Mean seconds of one load, the ten slowest (PERFOPT_MODULE_LOADS=1).",
            "s",
            Query(_slow_modules(), "{{" + q.label(c.MODULE_NAME) + "}}"),
            width=24,
        ),
    )


def _slow_modules() -> str:
    # Modules load once, at the start: what matters is the whole of it, not what comes a second.
    found = q.total(q.histogram(c.METRIC_MODULE_DURATION, q.AGENTS), c.MODULE_NAME)
    return f"topk(10, histogram_sum({found}) / histogram_count({found}))"


def _overhead() -> tuple[Any, ...]:
    spent = q.rate(q.counter(c.METRIC_OVERHEAD, q.AGENTS), "job")
    worked = q.sum_rate(c.METRIC_COMMAND_DURATION, "job")
    return (
        lines(
            "CPU time we take",
            "Seconds a second of our own thread in agents, which is beside the requests.",
            "percentunit",
            Query(spent, _JOB),
            width=8,
        ),
        lines(
            "Beside the time of commands",
            "The same over the time commands take.",
            "percentunit",
            Query(f"{spent} / {worked}", _JOB),
            width=8,
        ),
        lines(
            "Lost, undescribed and faulty",
            "A minute: spans we dropped under load, spans we could not describe, faults of our own (each fell back to "
            "the plain call).",
            "short",
            Query(f"60 * {q.rate(q.counter(c.METRIC_DROPPED, q.AGENTS), 'job')}", f"dropped {_JOB}"),
            Query(f"60 * {q.rate(q.counter(c.METRIC_UNDESCRIBED, q.AGENTS), 'job')}", f"undescribed {_JOB}"),
            Query(f"60 * {q.rate(q.counter(c.METRIC_FAULTS, q.AGENTS))} or vector(0)", "faults"),
            width=8,
        ),
    )


def _controller() -> tuple[Any, ...]:
    return (
        numbers(
            "Lease left",
            "When it runs out, agents fall back to baseline by themselves.",
            "s",
            Query(_LEASE_LEFT),
            steps=((None, "red"), (0, "orange"), (15, "green")),
        ),
        numbers(
            "Kill switch",
            "Off means that nothing is treated.",
            "short",
            Query(q.greatest(q.gauge(c.METRIC_KILLED))),
            codes=codes.KILL_SWITCH,
        ),
        numbers(
            "Ledger",
            "Nothing new comes into force while it cannot be written.",
            "short",
            Query(f"min ({q.gauge(c.METRIC_LEDGER_HEALTHY)})"),
            codes=codes.HEALTH,
        ),
        numbers(
            "In force",
            "Decisions that agents follow.",
            "short",
            Query(q.greatest(q.gauge(c.METRIC_SNAPSHOT_DECISIONS))),
        ),
        numbers(
            "Problems",
            "What is wrong with files or telemetry now; perfopt loop says each.",
            "short",
            Query(q.greatest(q.gauge(c.METRIC_CONTROLLER_PROBLEMS))),
            steps=((None, "green"), (1, "orange")),
        ),
        numbers(
            "Not read",
            "Pieces of telemetry that could not be understood, and faults of these metrics, since the start.",
            "short",
            Query(
                f"{q.total(q.counter(c.METRIC_CONTROLLER_UNREAD))} + {q.total(q.counter(c.METRIC_CONTROLLER_FAULTS))}"
            ),
            steps=((None, "green"), (1, "orange")),
        ),
        lines(
            "How long a turn takes",
            "Read, compare, decide, publish.",
            "s",
            Query(q.greatest(q.gauge(c.METRIC_CONTROLLER_TURN), "job"), _JOB),
            width=8,
        ),
        lines(
            "Runs read a minute",
            "Finished runs of agents that the controller took into account.",
            "short",
            Query(f"60 * {q.rate(q.counter(c.METRIC_CONTROLLER_RUNS), 'job')}", _JOB),
            width=8,
        ),
        lines(
            "CPU",
            "Of the controller, as a share of one core.",
            "percentunit",
            Query(q.rate(q.counter(c.METRIC_CONTROLLER_CPU), "job"), _JOB),
            width=4,
        ),
        lines(
            "Memory",
            "Resident memory of the controller.",
            "bytes",
            Query(q.greatest(q.gauge(c.METRIC_CONTROLLER_MEMORY), "job"), _JOB),
            width=4,
        ),
    )
