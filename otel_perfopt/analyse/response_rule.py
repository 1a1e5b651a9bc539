"""What answering equal requests from an earlier reply would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_perfopt import conventions as c
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import model_of
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Step, Target
from otel_perfopt.execution.schedule import Changes

RESPONSE_LIFE_NS = 300 * 1_000_000_000
MAX_REQUESTS = 50_000
MAX_FALSE = 0.01
_TEMPERATURE = "gen_ai.request.temperature"


@dataclass(frozen=True, slots=True)
class _Answer:
    """When a request was answered, in which run and conversation, and how the reply ended."""

    ended_ns: int
    trace_id: str
    conversation_id: str
    ending: tuple[str, ...]


@dataclass(slots=True)
class _Needed:
    """Which switches of the policy a target's hits need."""

    any_temperature: bool = False
    tool_calls: bool = False
    shared: bool = False


class ResponseCacheRule(PlainRule):
    """A request equal to one of the last five minutes, from whichever run, is answered with the reply it had.

    A reply that asks for tools has ids of its own: once a run got one that was not kept, its later
    requests are like none of another run. Equal requests whose replies ended differently are not counted as saved,
    nor are those of which nothing is known of how either reply ended: what is unknown is not equal. One cache is
    supposed; processes have one each.
    """

    optimization = "response_cache"
    metric = LATENCY

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._needed: dict[Target, _Needed] = {}
        self._hits: Counter[tuple[str, bool]] = Counter()

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each model of the run; the bound is all its calls for nothing."""
        hits: dict[str, list[Step]] = {}
        fresh = False
        for step in run.inferences:
            digest = step.attributes.get(c.REQUEST_DIGEST)
            if not isinstance(digest, str) or not digest:
                continue
            found = hits.setdefault(model_of(step), [])
            if self._hit(run, step, (model_of(step), digest), fresh=fresh):
                found.append(step)
            else:
                fresh = fresh or step.span_id in run.replies
        return [self._what_if(run, model, steps) for model, steps in hits.items()]

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the time to live that was imagined, and what else the hits need."""
        needed = self._needed.get(target, _Needed())
        switches = {"anyTemperature": needed.any_temperature, "toolCalls": needed.tool_calls}
        scope = {"scope": "process"} if needed.shared else {}
        return {"ttl": "5m", **scope, **{name: True for name, on in switches.items() if on}}

    def safe(self, target: Target) -> bool:
        """Tell whether at most one in a hundred of the model's hits had a reply that ended otherwise."""
        right, wrong = (self._hits[target.model, false] for false in (False, True))
        return wrong <= MAX_FALSE * (right + wrong)

    def _hit(self, run: RunView, step: Step, key: tuple[str, str], *, fresh: bool) -> bool:
        """Tell whether the request is answered from what is known; what it got is known from now on.

        With `fresh` ids it is equal only to one of its own run, which had the same ones.
        """
        before = self._known.get(key)
        if fresh and before is not None and before.trace_id != step.trace_id:
            before = None
        ending = _ending(run, step)
        timely = before is not None and before.ended_ns <= step.start_ns <= before.ended_ns + RESPONSE_LIFE_NS
        if before is None or not timely or step.error_type is not None:
            if step.error_type is None:
                self._known[key] = _Answer(step.end_ns, step.trace_id, run.execution.conversation_id, ending)
                self._known.move_to_end(key)
                if len(self._known) > MAX_REQUESTS:
                    self._known.popitem(last=False)
            return False
        if not (before.ending and ending):
            return False  # not enough known: neither equal nor another
        same = before.ending == ending
        self._hits[key[0], not same] += 1
        if same:
            self._need(Target(command=run.execution.command.name, model=key[0]), run, step, before)
        return same

    def _need(self, target: Target, run: RunView, step: Step, before: _Answer) -> None:
        if target not in self._needed and len(self._needed) >= MAX_REQUESTS:
            return
        needed = self._needed.setdefault(target, _Needed())
        needed.any_temperature |= step.attributes.get(_TEMPERATURE) != 0
        needed.tool_calls |= step.span_id in run.replies
        needed.shared |= before.conversation_id != run.execution.conversation_id

    @staticmethod
    def _what_if(run: RunView, model: str, hits: list[Step]) -> WhatIf:
        changes = Changes(durations_ns={step.span_id: 0 for step in hits})
        every = [step for step in run.inferences if model_of(step) == model]
        return WhatIf(
            Target(command=run.execution.command.name, model=model), changes, run.waited_ns(every), tuple(hits)
        )


def _ending(run: RunView, step: Step) -> tuple[str, ...]:
    """Return what is known of a reply without its content: why it ended, and which tools it asked for."""
    stated = step.attributes.get(c.GEN_AI_RESPONSE_FINISH_REASONS)
    why = (stated,) if isinstance(stated, str) else tuple(map(str, stated)) if isinstance(stated, Sequence) else ()
    return (*why, *(call.name for call in run.replies.get(step.span_id, ())))
