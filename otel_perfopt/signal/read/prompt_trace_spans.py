"""The rows of one session of prompts and outputs in, its `SpanRecord`s out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from otel_perfopt import conventions as names
from otel_perfopt.signal.digest import content_digest, flow_list
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.tool_effects import UNKNOWN

COMMAND_NAME: Final = "task"
SHELL_TOOL: Final = "bash"
CHARS_PER_TOKEN: Final = 4
MAX_VALUES: Final = 4096
# How mini-swe-agent asks for a command, and how it tells the model what came of it.
_COMMAND: Final = re.compile(r"```bash\s*\n(.*?)\n?```", re.DOTALL)
_RESULT: Final = re.compile(r"<returncode>(-?\d+)</returncode>(.*)", re.DOTALL)
# A session may be several agents taking turns; each goes on from its own last prompt.
_PROMPTS_COMPARED: Final = 16


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One request: when it began, what was sent, what came back, and the line it stands on."""

    start_ns: int
    prompt: str
    output: str
    line: int
    session: str = ""


def session_spans(rows: Sequence[PromptRow], path: str) -> tuple[SpanRecord, ...]:
    """Return the spans of one session, its command first; `rows` may be in any order.

    A command in an output was run when the next prompt goes on where this one ended and brings a
    return code: it then is a tool call, whose time is inside the model call's.
    """
    ordered = sorted(rows, key=lambda row: (row.start_ns, row.line))
    writer = _Writer(ordered, path)
    spans = [writer.command()]
    for number, row in enumerate(ordered):
        following = ordered[number + 1] if number + 1 < len(ordered) else None
        before = [earlier.prompt for earlier in ordered[max(0, number - _PROMPTS_COMPARED) : number]]
        spans.append(writer.inference(number, row, following, before))
        tool = writer.tool(number, row, following) if following is not None else None
        if tool is not None:
            spans.append(tool)
    return tuple(spans)


def shared_prefix(left: str, right: str) -> int:
    """Return how many characters two texts have in common from their beginning."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class _Writer:
    def __init__(self, rows: Sequence[PromptRow], path: str) -> None:
        self._rows = rows
        self._path = path
        self._session = rows[0].session or path
        self._trace = _hex(f"{self._session} {rows[0].start_ns}", 16)
        self._root = self._identity("command", 0)

    def command(self) -> SpanRecord:
        known, cut = flow_list(self._rows[0].prompt, MAX_VALUES)
        attributes: dict[str, Any] = {
            names.STEP_KIND: names.STEP_COMMAND,
            names.COMMAND_NAME: COMMAND_NAME,
            names.COMMAND_OUTCOME: "completed",
            names.DATAFLOW_OUTPUTS: known,
            names.DATAFLOW_TRUNCATED: cut,
        }
        times = (self._rows[0].start_ns, self._rows[-1].start_ns)
        return self._span(self._root, COMMAND_NAME, times, attributes, self._rows[0].line, parent="")

    def inference(self, number: int, row: PromptRow, following: PromptRow | None, before: Sequence[str]) -> SpanRecord:
        resent = max((shared_prefix(prompt, row.prompt) for prompt in before), default=0)
        attributes: dict[str, Any] = {
            names.STEP_KIND: names.STEP_INFERENCE,
            names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
            names.GEN_AI_USAGE_INPUT_TOKENS: _tokens(len(row.prompt)),
            names.GEN_AI_USAGE_OUTPUT_TOKENS: _tokens(len(row.output)),
            names.CONTEXT_RESENT_TOKENS: resent // CHARS_PER_TOKEN,
            names.TOKENS_ESTIMATED: True,
            names.DURATION_ESTIMATED: True,
        }
        end_ns = following.start_ns if following is not None else row.start_ns
        identity = self._identity("inference", number)
        return self._span(identity, names.OPERATION_CHAT, (row.start_ns, end_ns), attributes, row.line)

    def tool(self, number: int, row: PromptRow, following: PromptRow) -> SpanRecord | None:
        asked = _COMMAND.findall(row.output)
        if len(asked) != 1 or not following.prompt.startswith(row.prompt):
            return None
        answer = _RESULT.search(following.prompt, len(row.prompt))
        if answer is None:
            return None
        arguments = {"command": asked[0].strip()}
        inputs, cut_in = flow_list(arguments, MAX_VALUES)
        outputs, cut_out = flow_list(answer.group(2), MAX_VALUES)
        told = frozenset(inputs)
        attributes: dict[str, Any] = {
            names.STEP_KIND: names.STEP_TOOL,
            names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_TOOL_NAME: SHELL_TOOL,
            names.TOOL_EFFECTS: UNKNOWN,
            names.ARGUMENTS_DIGEST: content_digest(arguments),
            names.RESULT_DIGEST: content_digest(answer.group()),
            names.RESULT_TOKENS: _tokens(len(answer.group(2))),
            names.DATAFLOW_INPUTS: inputs,
            names.DATAFLOW_OUTPUTS: tuple(value for value in outputs if value not in told),
            names.DATAFLOW_TRUNCATED: cut_in or cut_out,
            names.REQUESTED_BY: self._identity("inference", number),
            names.DURATION_ESTIMATED: True,
        }
        error = None if answer.group(1) == "0" else "exit_code"
        times = (following.start_ns, following.start_ns)
        name = f"{names.OPERATION_EXECUTE_TOOL} {SHELL_TOOL}"
        return self._span(self._identity("tool", number), name, times, attributes, row.line, error=error)

    def _identity(self, kind: str, number: int) -> str:
        return _hex(f"{self._trace} {kind} {number}", 8)

    def _span(
        self,
        span_id: str,
        name: str,
        times: tuple[int, int],
        attributes: dict[str, Any],
        line: int,
        *,
        parent: str | None = None,
        error: str | None = None,
    ) -> SpanRecord:
        attributes[names.GEN_AI_CONVERSATION_ID] = self._session
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        return SpanRecord(
            trace_id=self._trace,
            span_id=span_id,
            parent_span_id=self._root if parent is None else parent,
            name=name,
            start_ns=times[0],
            end_ns=times[1],
            attributes=attributes,
            resource={names.SERVICE_NAME: "prompt-trace"},
            scope=names.INSTRUMENTATION_SCOPE,
            error_type=error,
            location=f"{self._path}:{line}",
        )


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def _hex(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
