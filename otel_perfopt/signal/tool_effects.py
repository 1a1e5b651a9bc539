"""A tool's name in, what it does to the world (`read`, `write`, `unknown`) out, for sources that do not declare it."""

from __future__ import annotations

from typing import Final

READ: Final = "read"
WRITE: Final = "write"
UNKNOWN: Final = "unknown"

# Claude Code's own tools. A shell command, a subagent, a skill or a tool of an MCP server may do
# anything. `BashOutput` gives only what is new, so asking twice is not the same as asking once.
_CLAUDE_CODE: Final = {
    "Read": READ,
    "Grep": READ,
    "Glob": READ,
    "LS": READ,
    "WebFetch": READ,
    "WebSearch": READ,
    "NotebookRead": READ,
    "TodoRead": READ,
    "TaskGet": READ,
    "TaskList": READ,
    "LSP": READ,
    "ToolSearch": READ,
    "ListMcpResourcesTool": READ,
    "ReadMcpResourceTool": READ,
    "Edit": WRITE,
    "MultiEdit": WRITE,
    "Write": WRITE,
    "NotebookEdit": WRITE,
    "TodoWrite": WRITE,
    "TaskCreate": WRITE,
    "TaskUpdate": WRITE,
    "TaskStop": WRITE,
    "KillShell": WRITE,
    "KillBash": WRITE,
}
_WAITS_FOR_USER: Final = frozenset({"AskUserQuestion", "ExitPlanMode"})

# Naming customs of tool sets that declare nothing (tau-bench and its like).
_READ_VERBS: Final = frozenset({"get", "search", "list", "find", "query", "calculate", "think"})
_WRITE_VERBS: Final = frozenset({"book", "cancel", "update", "send", "modify", "exchange", "return"})


def claude_code_effects(tool: str) -> str:
    """Return the effects of one of Claude Code's tools; `unknown` for what may do anything."""
    return _CLAUDE_CODE.get(tool, UNKNOWN)


def waits_for_user(tool: str) -> bool:
    """Tell whether a call of this Claude Code tool lasts as long as a person takes to answer."""
    return tool in _WAITS_FOR_USER


def verb_effects(tool: str) -> str:
    """Return the effects a function's first word promises (`get_user` reads, `book_flight` writes), else `unknown`."""
    verb = tool.split("_", 1)[0].lower()
    if verb in _READ_VERBS:
        return READ
    return WRITE if verb in _WRITE_VERBS else UNKNOWN
