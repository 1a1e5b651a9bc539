"""Whether a shorter context still has what replies used: a request and its shorter form in, counts on the run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.tool_results import offered_name
from otel_perfopt.signal.calls import InferenceCall, InferenceOutcome
from otel_perfopt.signal.emit.sent_content import sequence
from otel_perfopt.signal.quoted import MarkMemo, marks_of, texts_in

# What a model reads of a request, whatever the API.
_READ: Final = ("system", "instructions", "messages", "input")
_TOOLS: Final = "tools"
# Looking through more than this would be felt by the agent; such a request is not judged.
MAX_CHARS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    """Of the marks that a reply took from the texts that are changed: how many there are, and how many would still be there."""

    used: int
    kept: int


class RetentionWatch:
    """Judges replies in shadow; the marks of a conversation's texts are kept for its next request."""

    def __init__(self) -> None:
        self._memo = MarkMemo()

    def watch(self, use: Use, call: InferenceCall, changes: Mapping[str, Any]) -> None:
        """Once the call's reply has been read, count what it used of the texts that `changes` would have sent otherwise."""
        given = _read(call.kwargs)
        instead = {**given, **_read(changes)}

        def judge(outcome: InferenceOutcome) -> None:
            if outcome.error is not None or not outcome.complete:
                return
            found = retention(given, instead, outcome, self._memo)
            if found is not None and found.used:
                count(call.run, use.policy, c.POLICY_USED, found.used)
                count(call.run, use.policy, c.POLICY_USED_KEPT, found.kept)

        call.on_end.append(judge)

    def after_fork(self) -> None:
        """Make the lock anew in the child."""
        self._memo.after_fork()


def retention(
    given: Mapping[str, Any], instead: Mapping[str, Any], outcome: InferenceOutcome, memo: MarkMemo
) -> Retention | None:
    """Compare what a reply says and asks for with both forms of its request; None of one too long to be looked through.

    A mark counts as used where only the changed texts have it, so that it could have come from nowhere
    else in the request. A tool that is called counts as one, where its description is left out. Where descriptions
    of tools are all that is left out, every call is evidence: of a tool that would still be described, or of one
    that would not.
    """
    before, after = Counter(_texts(given)), Counter(_texts(instead))
    if sum(map(len, before)) + sum(map(len, after)) > MAX_CHARS:
        return None
    said = marks_of((outcome.text, *(request.arguments for request in outcome.requests)))
    changed, same, put = before - after, before & after, after - before
    found = memo.among(changed, said)
    used = found - memo.among(same, found) if found else found
    kept = memo.among(put, used)
    offered, still_offered = _offered(given), _offered(instead)
    called = {request.name for request in outcome.requests} & offered
    lost = called - still_offered
    if not changed and offered != still_offered:
        return Retention(len(called), len(called) - len(lost))
    return Retention(len(used) + len(lost), len(kept))


def _read(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name in _READ or name == _TOOLS}


def _texts(request: Mapping[str, Any]) -> Iterable[str]:
    return texts_in([request.get(name) for name in _READ])


def _offered(request: Mapping[str, Any]) -> set[str]:
    return {offered_name(tool) for tool in sequence(request.get(_TOOLS))}
