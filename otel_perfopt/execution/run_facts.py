"""What the spans of one run say about the run as a whole: spans in, conversation, outcome, arms and evaluations out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Assignment, Evaluation, Outcome
from otel_perfopt.execution.span_kind import text
from otel_perfopt.execution.usage import number
from otel_perfopt.signal.record import Attributes, SpanRecord

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def stated(spans: Iterable[SpanRecord], *names: str) -> str:
    """Return the first of the named attributes that any of the spans states, looking at the spans in order."""
    for span in spans:
        value = text(span.attributes, *names)
        if value:
            return value
    return ""


def outcome_of(command: SpanRecord) -> Outcome:
    """Return how the command ended: as stated, else failed when its span carries an error."""
    said = _OUTCOMES.get(text(command.attributes, c.COMMAND_OUTCOME))
    if said is not None:
        return said
    return Outcome.COMPLETED if command.error_type is None else Outcome.FAILED


def arms_of(spans: Iterable[SpanRecord]) -> dict[str, Assignment]:
    """Return what each policy decided, by policy name; where spans disagree the first that states an arm holds."""
    arms: dict[str, Assignment] = {}
    for span in spans:
        for name in span.attributes:
            if name.startswith(c.POLICY_PREFIX):
                policy, _, field = name.removeprefix(c.POLICY_PREFIX).rpartition(".")
                if policy and field == c.POLICY_ARM and policy not in arms:
                    assignment = _assignment(span.attributes, policy)
                    if assignment.arm:
                        arms[policy] = assignment
    return arms


def _assignment(attributes: Attributes, policy: str) -> Assignment:
    return Assignment(
        arm=text(attributes, c.policy_attribute(policy, c.POLICY_ARM)),
        digest=text(attributes, c.policy_attribute(policy, c.POLICY_DIGEST)),
        stage=text(attributes, c.policy_attribute(policy, c.POLICY_STAGE)),
        allocation=number(attributes.get(c.policy_attribute(policy, c.POLICY_ALLOCATION))),
        unit=text(attributes, c.policy_attribute(policy, c.POLICY_UNIT)),
    )


def evaluations_of(spans: Sequence[SpanRecord]) -> tuple[Evaluation, ...]:
    """Return the judgements recorded on any of the spans, in order of time."""
    events = [event for span in spans for event in span.events if event.name == c.GEN_AI_EVALUATION_RESULT_EVENT]
    events.sort(key=lambda event: event.time_ns)
    return tuple(
        Evaluation(
            name=text(event.attributes, c.GEN_AI_EVALUATION_NAME),
            score=_score(event.attributes),
            label=text(event.attributes, c.GEN_AI_EVALUATION_SCORE_LABEL),
        )
        for event in events
    )


def _score(attributes: Attributes) -> float | None:
    value = attributes.get(c.GEN_AI_EVALUATION_SCORE_VALUE)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
