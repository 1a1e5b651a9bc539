"""The records of one Claude Code session file in, finished turns (one prompt and all it led to) out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_perfopt.signal.read.moment import parse_moment
from otel_perfopt.signal.read.prompt_line import PromptKind, read_prompt
from otel_perfopt.signal.read.session_record import Record, blocks_of, caller_of, content_of, text_of, tool_use_of
from otel_perfopt.signal.read.tool_answer import note_answer
from otel_perfopt.signal.read.turn import MAIN_THREAD, Thread, Turn
from otel_perfopt.signal.source import ReadProblem, ReadTally

RECORD_START: Final = '{"parentUuid"'
SUBAGENT_NAME: Final = "subagent"
SYNTHETIC_MODEL: Final = "<synthetic>"
# Bookkeeping of the program itself, without a model or tool in it.
_IGNORED: Final = frozenset(
    [
        "agent-name",
        "ai-title",
        "attachment",
        "attribution-snapshot",
        "custom-title",
        "file-history-snapshot",
        "last-prompt",
        "marble-origami",
        "mode",
        "permission-mode",
        "pr-link",
        "queue-operation",
        "saved_hook_context",
        "summary",
        "tag",
        "task-summary",
        "worktree-state",
    ]
)


class Session:
    """Follows one file, line by line.

    `is_new(key)` tells whether an id is seen for the first time in the whole input: resumed sessions
    copy the lines of the session they continue, and each is counted once.
    """

    def __init__(self, path: str, name: str, tally: ReadTally, is_new: Callable[[str], bool]) -> None:
        self._path = path
        self._name = name
        self._tally = tally
        self._is_new = is_new
        self._turn: Turn | None = None
        self._now_ns = 0
        self._reported: set[str] = set()
        self._handlers: dict[str, Callable[[Record, int], Turn | None]] = {
            "user": self._user,
            "assistant": self._assistant,
            "progress": self._progress,
            "system": self._system,
        }

    def accept(self, record: Record, line: int) -> Turn | None:
        """Take in one record; return the turn that it ends, if it begins another."""
        kind = record.get("type")
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            return handler(record, line)
        if not isinstance(kind, str) or kind not in _IGNORED:
            self._report_once(f"unknown_record {kind!r}"[:80], line, f"lines of type {kind!r} are not understood")
        return None

    def join(self, turn: Turn) -> None:
        """Put what follows into `turn`, whose own file is another."""
        self._turn = turn

    def finish(self) -> Turn | None:
        """Return the turn that the end of the file ends."""
        turn, self._turn = self._turn, None
        return turn

    # --- user lines -------------------------------------------------------------------------------

    def _user(self, record: Record, line: int) -> Turn | None:
        if self._is_copy(record):
            return None
        moment = self._moment(record, line)
        content = content_of(record)
        results = [block for block in blocks_of(content) if block.get("type") == "tool_result"]
        if results:
            self._results(record, results, moment, line)
            return None
        if record.get("isSidechain"):
            self._sidechain_prompt(record, content, moment, line)
            return None
        return self._prompt(record, content, moment, line)

    def _prompt(self, record: Record, content: object, moment: int, line: int) -> Turn | None:
        prompt = read_prompt(content, record)
        if prompt.kind is PromptKind.NONE:
            return None
        if prompt.kind is PromptKind.INTERRUPTION:
            if self._turn is not None:
                self._turn.interrupted = True
                self._turn.end_ns = max(self._turn.end_ns, moment)
            return None
        if prompt.kind is PromptKind.LOCAL_OUTPUT:
            if self._turn is not None and not self._turn.messages:
                self._turn.local = True
                self._turn.end_ns = max(self._turn.end_ns, moment)
            return None
        ended = self._turn
        self._turn = self._begin(prompt.name, record, moment, line, prompt.text)
        return ended

    def _begin(self, name: str, record: Record, moment: int, line: int, text: str = "") -> Turn:
        key = record.get("uuid")
        return Turn(
            name=name,
            key=key if isinstance(key, str) and key else f"{self._path}:{line}",
            session=text_of(record.get("sessionId")) or self._name,
            start_ns=moment,
            end_ns=moment,
            line=line,
            prompt=text,
            folder=text_of(record.get("cwd")),
            version=text_of(record.get("version")),
        )

    def _results(self, record: Record, results: list[Record], moment: int, line: int) -> None:
        details = record.get("toolUseResult")
        for block in results:
            call_id = block.get("tool_use_id")
            tool = self._turn.tools.get(call_id) if self._turn is not None and isinstance(call_id, str) else None
            if tool is None or self._turn is None:
                self._report(
                    line, "unmatched_result", f"the result of a tool call that is not in this file ({call_id})"
                )
                continue
            note_answer(tool, block, details, moment)
            self._turn.heard(self._turn.thread(tool.thread, moment), moment)

    # --- assistant lines --------------------------------------------------------------------------

    def _assistant(self, record: Record, line: int) -> Turn | None:
        if self._is_copy(record):
            return None
        message = record.get("message")
        if not isinstance(message, dict):
            self._report(line, "malformed_record", "an assistant line without a message")
            return None
        failed = bool(record.get("isApiErrorMessage"))
        if message.get("model") == SYNTHETIC_MODEL and not failed:
            return None
        moment = self._moment(record, line)
        turn = self._turn_for(record, moment, line)
        self._reply(turn, self._thread_of(turn, record, moment), record, moment, line)
        return None

    def _reply(self, turn: Turn, thread: Thread, record: Record, moment: int, line: int) -> None:
        raw = record.get("message")
        if not isinstance(raw, dict):
            return
        identity = text_of(raw.get("id")) or text_of(record.get("uuid")) or f"{self._path}:{line}"
        message = turn.message(identity, thread, moment, line)
        model = text_of(raw.get("model"))
        message.model = message.model or (model if model != SYNTHETIC_MODEL else "")
        message.usage.absorb(raw.get("usage"))
        message.stop_reason = text_of(raw.get("stop_reason")) or message.stop_reason
        if record.get("isApiErrorMessage"):
            message.error_type = text_of(record.get("error")) or "api_error"
        for block in blocks_of(raw.get("content")):
            if block.get("type") == "thinking":
                message.thinking.append((message.end_ns, max(moment, message.end_ns), line))
            elif block.get("type") == "tool_use":
                tool = tool_use_of(block, identity, thread.key, moment, line)
                if tool.call_id not in turn.tools:
                    turn.tools[tool.call_id] = tool
                    message.tools.append(tool)
        message.end_ns = max(message.end_ns, moment)
        turn.heard(thread, moment)

    # --- subagents --------------------------------------------------------------------------------

    def _progress(self, record: Record, line: int) -> Turn | None:
        data = record.get("data")
        if not isinstance(data, dict) or data.get("type") != "agent_progress":
            return None
        inner = data.get("message")
        if not isinstance(inner, dict) or self._is_copy(inner):
            return None
        moment = self._moment(inner if "timestamp" in inner else record, line)
        turn = self._turn_for(record, moment, line)
        thread = turn.thread(text_of(data.get("agentId")) or text_of(record.get("parentToolUseID")) or "agent", moment)
        thread.parent_call = thread.parent_call or text_of(record.get("parentToolUseID"))
        self._subagent_line(turn, thread, inner, moment, line)
        return None

    def _subagent_line(self, turn: Turn, thread: Thread, record: Record, moment: int, line: int) -> None:
        if record.get("type") == "assistant":
            self._reply(turn, thread, record, moment, line)
            return
        results = [block for block in blocks_of(content_of(record)) if block.get("type") == "tool_result"]
        if results:
            self._results(record, results, moment, line)
        else:
            turn.heard(thread, moment)

    def _sidechain_prompt(self, record: Record, content: object, moment: int, line: int) -> None:
        turn = self._turn_for(record, moment, line)
        thread = self._thread_of(turn, record, moment)
        if not thread.parent_call:
            thread.parent_call = caller_of(turn, content)
        turn.heard(thread, moment)

    def _thread_of(self, turn: Turn, record: Record, moment: int) -> Thread:
        if not record.get("isSidechain"):
            return turn.thread(MAIN_THREAD, moment)
        uuid, parent = text_of(record.get("uuid")), text_of(record.get("parentUuid"))
        key = text_of(record.get("agentId")) or turn.sidechain_lines.get(parent) or uuid or "sidechain"
        if uuid:
            turn.sidechain_lines[uuid] = key
        return turn.thread(key, moment)

    def _turn_for(self, record: Record, moment: int, line: int) -> Turn:
        """Return the open turn; lines before any prompt (a continued or cut file) begin one of their own."""
        if self._turn is None:
            name = SUBAGENT_NAME if record.get("isSidechain") else "prompt"
            self._turn = self._begin(name, record, moment, line)
        return self._turn

    # --- system lines -----------------------------------------------------------------------------

    def _system(self, record: Record, line: int) -> Turn | None:
        turn, subtype = self._turn, record.get("subtype")
        if turn is None or self._is_copy(record):
            return None
        if subtype == "turn_duration" and isinstance(record.get("durationMs"), int):
            turn.active_ms = record["durationMs"]
        elif subtype in ("compact_boundary", "microcompact_boundary"):
            details = record.get("compactMetadata")
            turn.compactions.append((self._moment(record, line), details if isinstance(details, dict) else {}))
            turn.afresh = True
        elif subtype == "api_error":
            self._failed_attempt(turn, record, line)
        return None

    def _failed_attempt(self, turn: Turn, record: Record, line: int) -> None:
        moment = self._moment(record, line)
        thread = self._thread_of(turn, record, moment)
        message = turn.message(text_of(record.get("uuid")) or f"{self._path}:{line}", thread, moment, line)
        message.end_ns = max(message.end_ns, moment)
        error = record.get("error")
        status = error.get("status") if isinstance(error, dict) else None
        message.error_type = str(status) if isinstance(status, int) else "api_error"
        turn.heard(thread, moment)

    # --- common to all ----------------------------------------------------------------------------

    def _is_copy(self, record: Record) -> bool:
        uuid = record.get("uuid")
        return isinstance(uuid, str) and bool(uuid) and not self._is_new(uuid)

    def _moment(self, record: Record, line: int) -> int:
        parsed = parse_moment(record.get("timestamp"))
        if parsed is None:
            self._report(line, "missing_time", "no readable timestamp; the time of the line before is used")
            return self._now_ns
        self._now_ns, naive = parsed
        if naive:
            self._report_once("naive_time", line, "times without a zone are taken as UTC")
        return self._now_ns

    def _report(self, line: int, kind: str, message: str) -> None:
        self._tally.report(ReadProblem(self._path, line, kind, message))

    def _report_once(self, kind: str, line: int, message: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            self._report(line, kind.split(" ", 1)[0], message)
