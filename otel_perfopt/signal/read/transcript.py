"""Claude Code session transcripts in, one trace a prompt out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from otel_perfopt.signal.read.json_lines import read_json_lines
from otel_perfopt.signal.read.seen import SeenIds
from otel_perfopt.signal.read.session import RECORD_START, Session
from otel_perfopt.signal.read.subagent_file import include_subagents
from otel_perfopt.signal.read.turn import Turn
from otel_perfopt.signal.read.turn_spans import turn_spans
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadTally


class TranscriptSource:
    """Reads session files (`.jsonl`, plain or gzip); a `SpanSource` in the memory of one prompt.

    One prompt is one trace: its command, a model call for each message, the thinking in it, and the
    tool calls asked for. What the files do not say, and how it is met:

    - A model call's start is the last event before it (prompt or tool result), its end its last line.
    - Thinking lasts from the event or block before it to its line, so time to first token is inside:
      marked `perfopt.duration.estimated`.
    - Output tokens are often the count at the stream's beginning. The largest count of the message's
      lines is taken and, where no line tells why the reply stopped, marked
      `perfopt.usage.output_lower_bound`.
    - A tool call lasts from its request to its result; waiting for the user's permission is inside.
      The tool's own figure, where given, is `perfopt.tool.execution_time`.
    - Lines repeated in another file (a resumed session) are counted once, by uuid, message and call.
    """

    def __init__(self, paths: Sequence[Path], tally: ReadTally | None = None, seen: SeenIds | None = None) -> None:
        self._paths = paths
        self._tally = ReadTally() if tally is None else tally
        self._seen = SeenIds() if seen is None else seen

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._tally

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield one batch a prompt."""
        for path in self._paths:
            yield from self._file(path)

    def _file(self, path: Path) -> Iterator[tuple[SpanRecord, ...]]:
        self._tally.files += 1
        previous_input: int | None = 0
        for turn in self._turns(path):
            include_subagents(turn, path, self._tally, self._is_new)
            spans, previous_input = turn_spans(turn, str(path), previous_input, self._is_new)
            self._tally.spans += len(spans)
            yield spans

    def _turns(self, path: Path) -> Iterator[Turn]:
        session = Session(str(path), path.name.split(".")[0], self._tally, self._is_new)
        for line, record in read_json_lines(path, self._tally, RECORD_START):
            ended = session.accept(record, line)
            if ended is not None:
                yield ended
        last = session.finish()
        if last is not None:
            yield last

    @property
    def _is_new(self) -> Callable[[str], bool]:
        return self._seen.add
