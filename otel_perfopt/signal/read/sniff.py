"""A file in, the name of its format out, told by content alone."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_perfopt.signal.read.lines import decompressed
from otel_perfopt.signal.source import ReadProblem

OTLP: Final = "OTLP JSON lines"
TRANSCRIPT: Final = "Claude Code session transcript"
TRAJECTORY: Final = "chat trajectory"
PROMPT_TRACE: Final = "prompt trace"
UNDERSTOOD: Final = (
    "OTLP JSON lines (the Collector's file format), Claude Code session transcripts, "
    "chat trajectories with OpenAI-style messages, prompt traces (timestamp, input, output)"
)

_HEAD_BYTES: Final = 1 << 20
_FIRST_BYTES: Final = 1 << 14  # which mostly tell
_LINES: Final = 50
_SHOWN: Final = 40
# A compressed file of another kind is worth naming.
_OTHER_MAGIC: Final = (
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (b"PK\x03\x04", "a zip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
)
# By keys of an object, the most telling first.
_BY_KEYS: Final = (
    (frozenset({"resourceSpans"}), OTLP),
    (frozenset({"resourceMetrics"}), OTLP),
    (frozenset({"resourceLogs"}), OTLP),
    (frozenset({"resourceProfiles"}), OTLP),
    (frozenset({"type", "sessionId"}), TRANSCRIPT),
    (frozenset({"type", "uuid"}), TRANSCRIPT),
    (frozenset({"type", "leafUuid"}), TRANSCRIPT),
    (frozenset({"type", "messageId", "snapshot"}), TRANSCRIPT),
    (frozenset({"timestamp", "input", "output"}), PROMPT_TRACE),
    (frozenset({"state", "task"}), TRAJECTORY),
    (frozenset({"turn_history"}), TRAJECTORY),
    (frozenset({"traj"}), TRAJECTORY),
    (frozenset({"messages"}), TRAJECTORY),
    (frozenset({"trajectory"}), TRAJECTORY),
    (frozenset({"conversation"}), TRAJECTORY),
    (frozenset({"role", "content"}), TRAJECTORY),
    (frozenset({"role", "tool_calls"}), TRAJECTORY),
)
# The same told from a beginning that is no whole document: a long line, a long array, a broken record.
_BY_TEXT: Final = (
    (re.compile(r'"resource(Spans|Metrics|Logs|Profiles)"\s*:'), OTLP),
    (re.compile(r'"(parentUuid|leafUuid|isSidechain)"\s*:'), TRANSCRIPT),
    (re.compile(r'"(traj|messages|trajectory)"\s*:\s*\['), TRAJECTORY),
    (re.compile(r'"turn_history"\s*:\s*\{'), TRAJECTORY),
    (re.compile(r'\{\s*"state"\s*:\s*\{\s*"history"\s*:\s*\['), TRAJECTORY),
    (re.compile(r'\{\s*"role"\s*:\s*"(system|user|assistant|tool|developer)"'), TRAJECTORY),
    (re.compile(r'\{\s*"timestamp"\s*:\s*\d+(\.\d+)?\s*,\s*"input"\s*:'), PROMPT_TRACE),
)

# Times and sizes of single requests, as serving systems publish them.
_REQUEST_LOG: Final = re.compile(
    rb'"input_length"\s*:\s*\d+[^}]*"output_length"|^timestamp,[a-z]*tokens', re.IGNORECASE
)
REQUEST_LOG: Final = (
    "a log of requests (times and token counts), which names no agent, command, tool or trace: there is no run in it "
    "to analyse. Send what the agent itself does as OpenTelemetry, or as OTLP JSON lines"
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`kind` is one of the formats above, or None, and then `problem` says why."""

    kind: str | None
    problem: ReadProblem | None = None


def sniff(path: Path) -> Sniffed:
    """Tell a file's format from its first lines, unpacking gzip.

    Otherwise the problem is one of `unreadable_file`, `empty_file`, `binary_file`, `truncated_gzip`,
    `corrupt_gzip` and `unknown_format`.
    """
    head, failure = _head(path, _FIRST_BYTES)
    kind = _by_lines(head)
    if kind is not None:
        return Sniffed(kind)
    head, failure = _head(path, _HEAD_BYTES)
    if failure is not None and not head:
        return Sniffed(None, failure)
    if not head.strip():
        return Sniffed(None, ReadProblem(str(path), 0, "empty_file", "the file is empty"))
    kind = _by_lines(head) or _by_text(head)
    return Sniffed(kind, None if kind is not None else _unknown(path, head))


def _head(path: Path, most: int) -> tuple[bytes, ReadProblem | None]:
    pieces: list[bytes] = []
    try:
        with path.open("rb") as file:
            stream = decompressed(file)
            size = 0
            while size < most and (piece := stream.read1(most - size)):
                pieces.append(piece)
                size += len(piece)
    except OSError as error:
        return b"".join(pieces), ReadProblem(
            str(path), 0, "unreadable_file", f"cannot be read: {error.strerror or error}"
        )
    except EOFError:
        return b"".join(pieces), ReadProblem(
            str(path), 0, "truncated_gzip", "the gzip file is cut off at its beginning"
        )
    except zlib.error as error:
        return b"".join(pieces), ReadProblem(str(path), 0, "corrupt_gzip", f"the gzip data is corrupt: {error}")
    return b"".join(pieces), None


def _by_lines(head: bytes) -> str | None:
    for line in head.split(b"\n", _LINES)[:_LINES]:
        try:
            value = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        while isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict):
            kind = next((kind for keys, kind in _BY_KEYS if keys <= value.keys()), None)
            if kind is not None:
                return kind
    return None


def _by_text(head: bytes) -> str | None:
    text = head.decode("utf-8", "replace")
    found = ((match.start(), kind) for pattern, kind in _BY_TEXT if (match := pattern.search(text)))
    return min(found, default=(0, None))[1]


def _unknown(path: Path, head: bytes) -> ReadProblem:
    for magic, what in _OTHER_MAGIC:
        if head.startswith(magic):
            return ReadProblem(str(path), 0, "binary_file", f"{what} (understood: {UNDERSTOOD})")
    if b"\0" in head[:4096] or head[:4096].decode("utf-8", "replace").count("\ufffd") > 16:
        return ReadProblem(str(path), 0, "binary_file", f"a binary file (understood: {UNDERSTOOD})")
    if _REQUEST_LOG.search(head[:4096]):
        return ReadProblem(str(path), 1, "request_log", REQUEST_LOG)
    first = head.lstrip().split(b"\n", 1)[0][:_SHOWN].decode("utf-8", "replace")
    what = "JSON of another shape" if first[:1] in ("{", "[") else "text that is no JSON"
    message = f"{what}, beginning {first!r} (understood: {UNDERSTOOD})"
    return ReadProblem(str(path), 1, "unknown_format", message)
