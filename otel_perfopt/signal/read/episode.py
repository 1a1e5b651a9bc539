"""Episodes of agent benchmarks in (actions and observations, or replies with code in them), chat messages out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_EXECUTE: Final = re.compile(r"<execute>(.*?)</execute>", re.DOTALL)
_WORD: Final = re.compile(r"[a-z]+")
_QUERIES: Final = frozenset({"select", "show", "describe", "desc", "explain"})
_MODEL: Final = re.compile(
    r"\b(?:gpt|claude|gemini|llama|mistral|qwen|deepseek)-[a-z0-9.-]+|(?<=_)(?:gpt|claude)-[a-z0-9.]+"
)
_OBSERVATION: Final = "Observation:"

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt at one task as chat messages with tool calls, and its reward where it was judged."""

    identity: str
    messages: Sequence[Message]
    reward: float | None


def episodes_of(value: object) -> Iterator[Episode]:
    """Yield the episodes in a JSON value; nothing where it is none.

    Understood: `{number: {turn_history: {actions, observations, rewards}}}` (InterCode), where each action
    is a call of the environment; and `{state: {history}, task}` (MINT), where code between `<execute>` tags is
    one and the next message its result.
    """
    if not isinstance(value, Mapping):
        return
    if isinstance(value.get("turn_history"), Mapping):
        yield _from_turns("", value)
    elif isinstance(value.get("state"), Mapping) and isinstance(value["state"].get("history"), list):
        yield _from_state(value)
    else:
        for name, each in value.items():
            if isinstance(each, Mapping) and isinstance(each.get("turn_history"), Mapping):
                yield _from_turns(str(name), each)


def _from_turns(name: str, said: Mapping[str, Any]) -> Episode:
    turns = said["turn_history"]
    environment = str(said.get("environment", "")).removeprefix("ic_") or "environment"
    messages: list[Message] = [{"role": "user", "content": str(said.get("query", ""))}]
    observations = _list(turns.get("observations"))
    for place, action in enumerate(_list(turns.get("actions"))):
        call_id = f"{place}"
        messages.append(_asking(call_id, _tool(environment, str(action)), str(action)))
        if place < len(observations):
            messages.append({"role": "tool", "tool_call_id": call_id, "content": str(observations[place])})
    rewards = [float(reward) for reward in _list(turns.get("rewards")) if isinstance(reward, (int, float))]
    identity = name or str(said.get("task_id", ""))
    return Episode(f"task_id={identity}", messages, max(rewards) if rewards else None)


def _tool(environment: str, action: str) -> str:
    """Name the call by what it does: to ask a database and to change it are different tools."""
    word = _WORD.match(action.strip().lower())
    if word is None:
        return environment
    return f"query_{environment}" if word.group() in _QUERIES else f"{word.group()}_{environment}"


def model_of(path: Path) -> str:
    """Return the model that the folder or file of a recording is named after; empty where none is."""
    found = _MODEL.search(f"{path.parent.name} {path.name}".lower())
    return found.group().rstrip(".-") if found else ""


def _from_state(said: Mapping[str, Any]) -> Episode:
    state = said["state"]
    messages: list[Message] = []
    waiting = ""
    for place, message in enumerate(state["history"]):
        if not isinstance(message, Mapping):
            continue
        text = str(message.get("content", ""))
        code = _EXECUTE.search(text) if message.get("role") == "assistant" else None
        if code is not None:
            waiting = f"{place}"
            messages.append({**_asking(waiting, "python", code.group(1).strip()), "content": text})
        elif waiting and message.get("role") == "user" and text.lstrip().startswith(_OBSERVATION):
            messages.append({"role": "tool", "tool_call_id": waiting, "content": text})
            waiting = ""
        else:
            messages.append(message)
    task = said.get("task")
    identity = task.get("task_id", "") if isinstance(task, Mapping) else ""
    success = state.get("success")
    return Episode(f"task_id={identity}", messages, float(success) if isinstance(success, bool) else None)


def _asking(call_id: str, tool: str, argument: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": {"input": argument}}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
