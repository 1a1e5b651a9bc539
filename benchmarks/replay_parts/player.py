"""A recorded agent at work again: conversations and decisions in, what each run took and was told through the runtime out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from replay_parts.played import Played
from replay_parts.recorded_turn import REPLY, Ask, Call, Conversation, Round, Turn
from replay_parts.sent_tokens import Provider
from replay_parts.virtual_loop import VirtualLoop
from replay_parts.world import READ, ToolFailed, World

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.analyse.useful_passages import Exchange
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.signal.calls import InferenceCall, InferenceOutcome, RunContext, ToolCall, ToolRequest

TRACER = TracerProvider().get_tracer("replay")
_PREFIX = "perfopt.policy."


class Player:
    """Replays conversations one after another in one process of one runtime, on a virtual loop of its own."""

    def __init__(
        self,
        snapshot: Snapshot,
        provider: Callable[[], Provider],
        tell: Callable[[int], None] = lambda _: None,
        *,
        keep: bool = False,
    ) -> None:
        """Prepare a process; with `keep` the requests are kept as they were sent."""
        self._keep = keep
        self._loop = VirtualLoop()
        self._provider_of = provider
        self._tell = tell
        self._world: World | None = None
        self._provider = provider()
        clock = Clock(monotonic_ns=self._loop.monotonic_ns)
        spans = CallSpans(template=lambda tool: self._world.template(tool) if self._world else None)
        self.runtime = Runtime(FixedSource(snapshot), clock=clock, spans=spans)

    def play(self, conversations: Sequence[Conversation]) -> list[Played]:
        """Return one row a run; raises where the runtime itself was at fault."""
        try:
            return self._loop.finish(self._all(conversations))
        finally:
            self.runtime.close()
            faults = {name: breaker.faults for name, breaker in self.runtime.faults.breakers.items() if breaker.faults}
            if faults:
                raise RuntimeError(f"faults of the runtime in a replay: {faults}")

    async def _all(self, conversations: Sequence[Conversation]) -> list[Played]:
        played: list[Played] = []
        for conversation in conversations:
            self._world, self._provider = World(conversation), self._provider_of()
            for turn in conversation.turns:
                await asyncio.sleep(turn.pause_s)
                played.append(await self._turn(conversation, turn, self._world))
            self._tell(len(conversation.turns))
        return played

    async def _turn(self, conversation: Conversation, turn: Turn, world: World) -> Played:
        span = TRACER.start_span("run")
        run = RunContext(turn.execution.command.name, conversation.name, "", span)
        row, made = Played(conversation.name), world.made
        self.runtime.run_began(run)
        began_s, work_s = self._loop.time(), self._loop.work_s()
        for round_ in turn.rounds:
            await asyncio.sleep(round_.ask.gap_s)
            await self._round(conversation.api, round_, run, world, row)
        await asyncio.sleep(turn.tail_s)
        row.seconds, row.work_s = self._loop.time() - began_s, self._loop.work_s() - work_s
        run.open = False
        self.runtime.run_ended(run)
        span.end()
        row.calls, row.made = sum(len(round_.calls) for round_ in turn.rounds), world.made - made
        row.asks = len(turn.rounds)
        row.counts = _counts(span) if isinstance(span, ReadableSpan) else Counter()
        return row

    async def _round(self, api: str, round_: Round, run: RunContext, world: World, row: Played) -> None:
        """Ask, and make the calls of the reply, each after what it came after in the recording."""
        begun: set[str] = set()
        tasks: dict[str, asyncio.Task[None]] = {}

        def replied() -> None:
            later = [call for call in round_.calls if call.span_id not in begun]
            requests = [ToolRequest(call.call_id, call.tool, dict(call.done.arguments)) for call in later]
            templates = {call.tool: world.template(call.tool, run) for call in later}
            self.runtime.on_reply(run, requests, {tool: found for tool, found in templates.items() if found})

        async def make(call: Call) -> None:
            if call.after:
                await tasks[call.after]
            await asyncio.sleep(call.gap_s)
            begun.add(call.span_id)
            await self._call(call, run, world, row)

        tasks[REPLY] = asyncio.create_task(self._ask(api, round_, run, row, replied))
        for call in round_.calls:
            tasks[call.span_id] = asyncio.create_task(make(call))
        await asyncio.gather(*tasks.values())

    async def _ask(self, api: str, round_: Round, run: RunContext, row: Played, replied: Callable[[], None]) -> None:
        ask = round_.ask
        given = _given(api, ask)
        call = InferenceCall(api, "", ask.model, print, given, dict(given), run, is_reply=_is_reply)

        async def execute(call: InferenceCall) -> Reply:
            self._provider.send(ask, given, call.kwargs, self._loop.time(), row.paid)
            if self._keep:
                asked = tuple((made.tool, made.done.arguments) for made in round_.calls)
                row.exchanges.append(Exchange(dict(call.kwargs), ask.said.text, asked))
            await asyncio.sleep(ask.seconds)
            return Reply(ask.said.text)

        reply = await self.runtime.inference.around_inference_async(call, execute)
        row.other_replies += reply.text != ask.said.text
        outcome = InferenceOutcome(text=ask.said.text)
        for on_end in call.on_end:
            on_end(outcome)
        replied()

    async def _call(self, call: Call, run: RunContext, world: World, row: Played) -> None:
        arguments = dict(call.done.arguments)
        template = world.template(call.tool, run)
        assert template is not None
        world.begun = max(world.begun, call.index)
        asked = ToolCall(
            call.tool,
            template.function,
            (),
            arguments,
            run,
            ToolRequest(call.call_id, call.tool, arguments),
            effects=call.effects,
            arguments=arguments,
        )

        async def execute(_: ToolCall) -> object:
            return await world.own(call)

        try:
            got, failed = await self.runtime.around_tool_async(asked, execute), False
        except ToolFailed as error:
            got, failed = str(error), True
        recorded = str(call.done.result) if call.failed else call.done.result
        if (got, failed) != (recorded, call.failed):
            kind = "read" if call.effects == READ else "write"
            row.wrong.append(f"{kind} {call.tool} {arguments}: {str(got)[:80]!r} instead of {str(recorded)[:80]!r}")


def _given(api: str, ask: Ask) -> dict[str, Any]:
    messages = list(ask.said.messages)
    if api == "anthropic.messages" and messages and messages[0]["role"] == "system":
        return {"model": ask.model, "system": messages[0]["content"], "messages": messages[1:]}
    return {"model": ask.model, "messages": messages}


@dataclass
class Reply:
    """What a model said, with the methods of a client's own reply objects."""

    text: str

    def model_dump(self, **_: object) -> dict[str, Any]:
        """Return the reply as data."""
        return {"choices": [self.text]}

    def model_dump_json(self, **_: object) -> str:
        """Return the reply as JSON."""
        return json.dumps(self.model_dump())


def _is_reply(result: object) -> bool:
    return isinstance(result, Reply)


def _counts(span: ReadableSpan) -> Counter[str]:
    """Return what the policies say they did, by optimization and count (`tool-cache.hits`)."""
    found: Counter[str] = Counter()
    for name, value in (span.attributes or {}).items():
        if name.startswith(_PREFIX) and isinstance(value, int) and not isinstance(value, bool):
            found[name.removeprefix(_PREFIX)] += value
    return found
