"""The detector catalogue: the detectors of the analysis and the kinds of findings in, one page out."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

from docs.generation.markdown import code, page, prose, sentence, table
from docs.generation.optimization_page import proposing_findings
from otel_perfopt.analyse.analyser import DETECTORS
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.analyse.opportunity import RULES, OpportunityDetector

# How a detector's file describes itself.
_RUNS_IN_OUT = re.compile(r": runs in, (.*?),? out\.$")
_FIRST = """What the analysis looks for. Every detector sees each run once, keeps what it needs in bounded memory, and says
nothing where there is not enough data. A finding carries its size with a 95 % interval, the runs it was seen in, and
the traces that show it. Series (trends, rhythms, shifts, forecasts, alarms) are taken apart together in
`otel_perfopt.analyse.histories`, so that the whole report makes a false claim in 5 % of cases at most.
"""


def detector_page() -> str:
    """Return the page."""
    return page(
        "Detectors and findings",
        _FIRST,
        "## Detectors",
        table(("detector", "looks for", "code"), _detectors()),
        "## What is replayed\n\nEach recorded run is replayed with one optimization applied, dependencies respected; what is saved "
        "is an `opportunity`, or an `upper_bound` where it needs the model's help.",
        table(("optimization", "saves", "how it is imagined", "code"), _rules()),
        "## Kinds of findings\n\nThe words that policies use in `when.finding`. A kind never changes its word.",
        *_kinds(),
    )


def _detectors() -> Iterator[tuple[str, str, str]]:
    for make in (OpportunityDetector, *DETECTORS):
        module = make.__module__
        yield code(make(0).name), _looks_for(module), code(module)


def _looks_for(module: str) -> str:
    first = (inspect.getdoc(sys.modules[module]) or "").partition("\n")[0]
    return sentence(_RUNS_IN_OUT.sub(r": \1", first))


def _rules() -> Iterator[tuple[str, str, str, str]]:
    for make in RULES:
        rule = make()
        saves = "input tokens" if rule.metric != "latency" else "time"
        bound = " (upper bound)" if rule.upper_bound else ""
        yield (
            code(rule.optimization) + bound,
            saves,
            prose(type(rule)).partition("\n\n")[0],
            code(type(rule).__module__),
        )


def _kinds() -> Iterator[str]:
    suggested = proposing_findings()
    for kind, told in sorted(FINDING_KINDS.items()):
        remedies = [name for name, kinds in suggested.items() if kind in kinds]
        lines = [sentence(told.says)]
        if told.ahead:
            lines.append("It speaks of a window to come: a policy with `when.ahead` wakes that long before it.")
        if told.passes:
            lines.append("It is news until its window ends, and wakes nobody afterwards.")
        if remedies:
            links = ", ".join(f"[{name}](optimizations.md#{name})" for name in sorted(remedies))
            lines.append(f"Suggests {links}.")
        yield f"### {kind}\n\n" + " ".join(lines)
