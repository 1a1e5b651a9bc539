"""The data sets in (by the product's own readers), recorded conversations with their contents out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from replay_parts.recorded_turn import Conversation, Done, Said, Turn, turn_of

from otel_perfopt import conventions as c
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution, StepKind
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.episode import episodes_of, model_of
from otel_perfopt.signal.read.json_lines import read_json_lines
from otel_perfopt.signal.read.json_values import JsonValues
from otel_perfopt.signal.read.prompt_trace_spans import PromptRow, session_spans
from otel_perfopt.signal.read.recorded import open_recorded
from otel_perfopt.signal.read.session import RECORD_START
from otel_perfopt.signal.read.session_record import blocks_of
from otel_perfopt.signal.read.trajectory_spans import trajectory_spans
from otel_perfopt.signal.source import ReadTally

Message = Mapping[str, Any]
OPENAI, ANTHROPIC = "openai.chat", "anthropic.messages"


def tau_bench(data: Path, limit: int) -> Iterator[Conversation]:
    """Yield the trajectories; the model is the one the file is named after."""
    for item in JsonValues(data / "tau-bench" / "gpt-4o-airline.json.gz", ReadTally()):
        if item.number >= limit:
            return
        record: Any = item.value
        messages = [
            {"model": "gpt-4o", **message} if message["role"] == "assistant" else message for message in record["traj"]
        ]
        yield _chat(f"tau task {record['task_id']} trial {record['trial']} {item.number}", messages)


def intercode(data: Path, limit: int) -> Iterator[Conversation]:
    """Yield as many episodes of each model, evenly spread."""
    files = sorted((data / "intercode").glob("*.json.gz"))
    for path in files:
        found = [episode for item in JsonValues(path, ReadTally()) for episode in episodes_of(item.value)]
        step = max(1, len(found) * len(files) // limit)
        for episode in found[::step][: max(1, limit // len(files))]:
            model = model_of(path)
            messages = [
                {"model": model, **message} if message["role"] == "assistant" else message
                for message in episode.messages
            ]
            yield _chat(f"intercode {model} {episode.identity}", messages)


def claude_code(data: Path, limit: int) -> Iterator[Conversation]:
    """Yield the sessions; what was sent before the first prompt (system prompt, tools) is not in the recordings."""
    for path in sorted((data / "claude-code").glob("*.jsonl.gz"))[:limit]:
        said, done = _session_contents(path)
        turns: list[Turn] = []
        first, ended_ns = 0, None
        for execution in RecordedExecutions(open_recorded([path])).executions():
            of_model = {
                step.span_id: said[str(step.attributes.get(c.GEN_AI_RESPONSE_ID))]
                for step in execution.of_kind(StepKind.INFERENCE)
                if str(step.attributes.get(c.GEN_AI_RESPONSE_ID)) in said
            }
            of_tool = {
                step.span_id: done[step.call_id] for step in execution.of_kind(StepKind.TOOL) if step.call_id in done
            }
            turn = turn_of(execution, of_model, of_tool, first=first, ended_ns=ended_ns)
            first += sum(len(round_.calls) for round_ in turn.rounds)
            ended_ns = execution.command.end_ns
            if turn.rounds:
                turns.append(turn)
        if turns:
            yield Conversation(turns[0].execution.conversation_id, ANTHROPIC, tuple(turns))


def lmcache(data: Path, limit: int) -> Iterator[Conversation]:
    """Yield the sessions: a prompt that goes on where the one before ended is told apart into messages."""
    kinds = [sorted(folder.iterdir()) for folder in sorted((data / "lmcache-agent-trace").iterdir())]
    share = max(1, limit // len(kinds))
    for path in (path for kind in kinds for path in kind[:share]):
        rows = sorted(
            (
                PromptRow(int(raw["timestamp"]) * 1000, str(raw["input"]), str(raw["output"]), line, path.name)
                for line, raw in read_json_lines(path, ReadTally())
            ),
            key=lambda row: (row.start_ns, row.line),
        )
        if not rows:
            continue
        (execution,) = executions_of(session_spans(rows, str(path)))
        asks = execution.of_kind(StepKind.INFERENCE)
        tools = {step.requested_by: step for step in execution.of_kind(StepKind.TOOL)}
        said, done = {}, {}
        histories: list[tuple[str, list[Message]]] = []
        for row, ask in zip(rows, asks, strict=True):
            messages = _continued(histories, row.prompt)
            said[ask.span_id] = Said(messages, row.output)
            histories.append((row.prompt, messages))
            tool = tools.get(ask.span_id)
            if tool is not None:
                done[tool.span_id] = Done({"command": tool.arguments_digest}, tool.result_digest)
        turn = turn_of(execution, said, done, first=0, ended_ns=None)
        yield Conversation(f"{path.parent.name} {path.name}", OPENAI, (turn,))


def _continued(histories: Sequence[tuple[str, list[Message]]], prompt: str) -> list[Message]:
    """Return a prompt's messages: those of the longest earlier prompt that it goes on from, and the rest as one."""
    before = max(
        ((text, messages) for text, messages in histories[-16:] if text and prompt.startswith(text)),
        key=lambda item: len(item[0]),
        default=None,
    )
    if before is None or before[0] == prompt:
        return before[1] if before is not None else [{"role": "user", "content": prompt}]
    return [*before[1], {"role": "user", "content": prompt[len(before[0]) :]}]


def _chat(name: str, messages: Sequence[Message]) -> Conversation:
    spans = trajectory_spans(messages, identity=name, location=name, number=0, reward=None)
    (execution,) = executions_of(spans)
    asks, tools = execution.of_kind(StepKind.INFERENCE), execution.of_kind(StepKind.TOOL)
    plain = [{key: value for key, value in message.items() if key != "model"} for message in messages]
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    said = {
        ask.span_id: Said(plain[:place], str(messages[place].get("content") or ""))
        for ask, place in zip(asks, places, strict=True)
    }
    done = {step.span_id: held for step, held in zip(tools, _answers(messages), strict=True) if held.result is not None}
    turn = turn_of(execution, said, done, first=0, ended_ns=None)
    return Conversation(execution.conversation_id, OPENAI, (turn,))


def _answers(messages: Sequence[Message]) -> list[Done]:
    """Return each tool call with its result, in the order in which they were asked for."""
    asked: list[tuple[str, Mapping[str, Any]]] = []
    results: dict[int, str] = {}
    for message in messages:
        asked.extend(
            (call.get("id", ""), _arguments(call["function"]["arguments"])) for call in message.get("tool_calls") or ()
        )
        if message["role"] == "tool":
            opened = [place for place in range(len(asked)) if place not in results]
            place = next((place for place in opened if asked[place][0] == message.get("tool_call_id")), None)
            if place is not None:
                results[place] = str(message.get("content"))
    return [Done(arguments, results.get(place)) for place, (_, arguments) in enumerate(asked)]


def _arguments(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {"text": value}
    return value if isinstance(value, dict) else {"value": value}


def _session_contents(path: Path) -> tuple[dict[str, Said], dict[str, Done]]:
    """Return what was sent for each message (by its id) and what each call gave (by its id)."""
    session = _Session()
    for _, record in read_json_lines(path, ReadTally(), RECORD_START):
        message = record.get("message")
        if record.get("type") in ("user", "assistant") and not record.get("isSidechain") and isinstance(message, dict):
            session.take(message)
    said = {
        identity: Said(session.messages[:place], "\n".join(session.texts[identity]))
        for identity, place in session.places.items()
    }
    return said, session.done


class _Session:
    """A session's messages, put together from its lines: one message of the model may take several."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.places: dict[str, int] = {}
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.done: dict[str, Done] = {}
        self._asked: dict[str, Mapping[str, Any]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        content = message.get("content")
        blocks = [dict(block) for block in blocks_of(content) if "thinking" not in str(block.get("type"))]
        if message["role"] == "assistant":
            self._reply(str(message.get("id")), blocks)
            return
        for block in blocks:
            held = self._asked.get(str(block.get("tool_use_id")))
            if held is not None:
                self.done[block["tool_use_id"]] = Done(held, block.get("content"))
        self.messages.append({"role": "user", "content": blocks or content})

    def _reply(self, identity: str, blocks: Sequence[Mapping[str, Any]]) -> None:
        if identity not in self.places:
            self.places[identity] = len(self.messages)
            self.messages.append({"role": "assistant", "content": []})
        self.messages[self.places[identity]]["content"].extend(blocks)
        self.texts[identity].extend(block["text"] for block in blocks if block.get("type") == "text")
        for block in blocks:
            if block.get("type") == "tool_use":
                self._asked[block["id"]] = block.get("input") or {}


def executions(conversations: Sequence[Conversation]) -> list[Execution]:
    """Return the runs of all conversations, in order."""
    return [turn.execution for conversation in conversations for turn in conversation.turns]
