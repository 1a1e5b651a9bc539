"""Runs out of spans: the `SpanRecord`s of whole traces in, one `Execution` per topmost command out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import (
    NO_TOKENS,
    Execution,
    Outcome,
    Step,
    StepKind,
    Target,
    TokenUsage,
    ToolEffects,
)
from otel_perfopt.execution.requests import requests_of
from otel_perfopt.execution.run_facts import arms_of, evaluations_of, outcome_of, stated
from otel_perfopt.execution.run_split import has_lost_parent, kinds_of, split_runs
from otel_perfopt.execution.span_kind import is_agent, is_workflow, name_of, text
from otel_perfopt.execution.told_once import told_once
from otel_perfopt.execution.trace_tree import TraceTree, trace_tree
from otel_perfopt.execution.usage import counted_cost, counted_usage
from otel_perfopt.signal.record import Attributes, SpanRecord

_EFFECTS = {effects.value: effects for effects in ToolEffects}
_WORK = frozenset(StepKind) - {StepKind.COMMAND, StepKind.OTHER}


def executions_of(spans: Iterable[SpanRecord]) -> list[Execution]:
    """Return the runs recorded in the spans of whole traces, ordered by start.

    Every distinct span (by trace and span id) is in exactly one run, as its command or as one step.
    A run without a command span is built around its root; where that root is itself work (a lone
    model call) the command is a step of our own with an empty span id. Never raises on span content.
    """
    traces: dict[str, list[SpanRecord]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    runs = [run for trace in traces.values() for run in _Trace.of(trace).executions()]
    runs.sort(key=_order)
    return runs


def _order(run: Execution) -> tuple[int, str, str, str]:
    return run.command.start_ns, run.trace_id, run.command.span_id, run.steps[0].span_id if run.steps else ""


@dataclass(frozen=True, slots=True)
class _Trace:
    """What is known of one trace's spans before they are split into runs."""

    tree: TraceTree
    kinds: Mapping[str, StepKind]
    requests: Mapping[str, str]
    usage: Mapping[str, TokenUsage]
    costs: Mapping[str, float]
    agents: Mapping[str, str]

    @classmethod
    def of(cls, spans: Iterable[SpanRecord]) -> _Trace:
        tree = trace_tree(spans)
        tree, kinds = told_once(tree, kinds_of(tree))
        return cls(
            tree=tree,
            kinds=kinds,
            requests=requests_of(tree, kinds),
            usage=counted_usage(tree.order, tree.spans, tree.parents, kinds),
            costs=counted_cost(tree.order, tree.spans, tree.parents),
            agents=_agents(tree),
        )

    def executions(self) -> list[Execution]:
        return [self._execution(root, members) for root, members in split_runs(self.tree, dict(self.kinds)).items()]

    def _execution(self, root: str, members: list[str]) -> Execution:
        span = self.tree.spans[root]
        command_name = name_of(span, StepKind.COMMAND)
        steps = [self._step(member, command_name) for member in members]
        unfinished = self._is_unfinished(root)
        command, inner = _enclose(steps, unfinished=unfinished)
        spans = [span, *sorted((self.tree.spans[m] for m in members if m != root), key=lambda s: s.start_ns)]
        around = [*spans[:1], *self._above(root), *spans[1:]]
        return Execution(
            command=command,
            steps=tuple(sorted(inner, key=lambda step: (step.start_ns, -step.end_ns, step.span_id))),
            conversation_id=stated(around, c.GEN_AI_CONVERSATION_ID) or stated(around, c.SESSION_ID) or span.trace_id,
            user_id=stated(around, c.USER_ID),
            outcome=Outcome.ABANDONED if unfinished else outcome_of(span),
            arms=arms_of(spans),
            evaluations=evaluations_of(spans),
            timed=span.attributes.get(c.UNTIMED) is not True,
            finished=not unfinished,
            location=span.location,
            release=text(span.resource, c.SERVICE_VERSION),
        )

    def _is_unfinished(self, root: str) -> bool:
        """Tell whether the run's command is still to come.

        Our instrumentation writes a command and its calls to one place, so a command that is not there
        has not ended. A parent that others' spans lost may lie in a telemetry that nobody recorded.
        """
        ours = self.tree.spans[root].scope == c.INSTRUMENTATION_SCOPE
        return ours and self.kinds[root] is not StepKind.COMMAND and has_lost_parent(self.tree, root)

    def _above(self, root: str) -> list[SpanRecord]:
        above: list[SpanRecord] = []
        parent = self.tree.parents[root]
        while parent is not None:
            above.append(self.tree.spans[parent])
            parent = self.tree.parents[parent]
        return above

    def _step(self, span_id: str, command: str) -> Step:
        span, kind = self.tree.spans[span_id], self.kinds[span_id]
        attributes = span.attributes
        name = name_of(span, kind)
        return Step(
            trace_id=span.trace_id,
            span_id=span_id,
            parent_span_id=span.parent_span_id,
            kind=kind,
            name=name,
            target=Target(
                service=text(span.resource, c.SERVICE_NAME),
                agent=self.agents[span_id],
                command=command,
                tool=name if kind is StepKind.TOOL else "",
                model=text(attributes, c.GEN_AI_REQUEST_MODEL, c.GEN_AI_RESPONSE_MODEL),
            ),
            start_ns=span.start_ns,
            end_ns=max(span.start_ns, span.end_ns),
            tokens=self.usage.get(span_id, NO_TOKENS),
            error_type=span.error_type,
            effects=_effects(attributes, kind),
            call_id=text(attributes, c.GEN_AI_TOOL_CALL_ID),
            requested_by=self.requests.get(span_id, ""),
            arguments_digest=text(attributes, c.ARGUMENTS_DIGEST),
            result_digest=text(attributes, c.RESULT_DIGEST),
            resource=text(attributes, c.TOOL_RESOURCE),
            inputs=_digests(attributes, c.DATAFLOW_INPUTS),
            outputs=_digests(attributes, c.DATAFLOW_OUTPUTS),
            flow_truncated=_flow_truncated(attributes, kind),
            estimated=attributes.get(c.DURATION_ESTIMATED) is True,
            cost_usd=self.costs.get(span_id),
            attributes=attributes,
        )


def _agents(tree: TraceTree) -> dict[str, str]:
    agents: dict[str, str] = {}
    for span_id in tree.order:
        span, parent = tree.spans[span_id], tree.parents[span_id]
        above = agents[parent] if parent is not None else ""
        its_own = is_agent(span) or (is_workflow(span) and not above)
        agents[span_id] = text(span.attributes, c.GEN_AI_AGENT_NAME) or (span.name if its_own else above)
    return agents


def _enclose(steps: list[Step], *, unfinished: bool) -> tuple[Step, list[Step]]:
    """Return the run's command and its inner steps; the first step is the run's root.

    Of an unfinished run the command's own span is missing: it lasts as long as what is known of it.
    """
    root = steps[0]
    if unfinished or root.kind in _WORK:
        target = replace(root.target, tool="", model="")
        command = Step(
            trace_id=root.trace_id,
            span_id="",
            parent_span_id="",
            kind=StepKind.COMMAND,
            name=target.command,
            target=target,
            start_ns=root.start_ns,
            end_ns=max(step.end_ns for step in steps) if unfinished else root.end_ns,
            error_type=None if unfinished else root.error_type,
            estimated=unfinished or root.estimated,
        )
        return command, steps
    return replace(root, kind=StepKind.COMMAND, name=root.target.command), steps[1:]


def _effects(attributes: Attributes, kind: StepKind) -> ToolEffects:
    said = _EFFECTS.get(text(attributes, c.TOOL_EFFECTS))
    if said is not None:
        return said
    return ToolEffects.READ if kind is StepKind.RETRIEVAL else ToolEffects.UNKNOWN


def _digests(attributes: Attributes, name: str) -> frozenset[str]:
    value = attributes.get(name)
    if isinstance(value, str):
        return frozenset({value}) if value else frozenset()
    return frozenset(map(str, value)) if isinstance(value, list | tuple) else frozenset()


def _flow_truncated(attributes: Attributes, kind: StepKind) -> bool:
    """A tool call that lists no values at all was not looked into, so nothing can be claimed of it."""
    if attributes.get(c.DATAFLOW_TRUNCATED) is True:
        return True
    return kind is StepKind.TOOL and c.DATAFLOW_INPUTS not in attributes and c.DATAFLOW_OUTPUTS not in attributes
