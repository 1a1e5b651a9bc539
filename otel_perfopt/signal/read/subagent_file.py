"""A turn whose subagents wrote files of their own in, the same turn with their calls in it out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from otel_perfopt.signal.read.json_lines import read_json_lines
from otel_perfopt.signal.read.session import RECORD_START, Session
from otel_perfopt.signal.read.turn import Turn
from otel_perfopt.signal.source import ReadTally

# Names come from the recording; only plain ones may become part of a path.
_PLAIN: Final = re.compile(r"[\w\-]{1,80}")


def include_subagents(turn: Turn, path: Path, tally: ReadTally, is_new: Callable[[str], bool]) -> None:
    """Read the files of the subagents that `turn` started into it.

    Claude Code keeps a subagent's conversation in `<session>/subagents/agent-<id>.jsonl`, before that
    in `agent-<id>.jsonl` beside the session, and tells its id with the result of the call. What a
    file holds is counted here; when the folder's walk meets the file later, its lines are known.
    Problems in it are reported; its lines and bytes count when the walk meets it.
    """
    for tool in [tool for tool in turn.tools.values() if tool.agent_id and tool.agent_id not in turn.threads]:
        for file in _files(path, turn.session, tool.agent_id):
            problems = ReadTally()
            session = Session(str(file), tool.agent_id, problems, is_new)
            session.join(turn)
            for line, record in read_json_lines(file, problems, RECORD_START):
                session.accept({**record, "isSidechain": True, "agentId": tool.agent_id}, line)
            for problem in problems.problems:
                tally.report(problem)
            thread = turn.threads.get(tool.agent_id)
            if thread is not None:
                thread.parent_call, thread.path = tool.call_id, str(file)


def _files(path: Path, session: str, agent: str) -> Iterator[Path]:
    if not (_PLAIN.fullmatch(session) and _PLAIN.fullmatch(agent)):
        return
    for folder in (path.parent / session / "subagents", path.parent):
        for ending in (".jsonl", ".jsonl.gz"):
            file = folder / f"agent-{agent}{ending}"
            if file != path and file.is_file():
                yield file
                return
