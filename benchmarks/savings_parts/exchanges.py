"""Requests with what came back: recorded messages, or the example agent at work, in; a conversation's exchanges out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from otel_perfopt.analyse.useful_passages import Exchange

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))


def recorded(messages: list[dict[str, Any]]) -> Iterator[Exchange]:
    """Yield each request that was made in a recorded conversation, with the reply that follows in it."""
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and index and messages[index - 1]["role"] != "assistant":
            end = next((place for place in range(index, len(messages)) if messages[place]["role"] != "assistant"), None)
            yield _exchange({"messages": messages[:index]}, messages[index:end])


def _exchange(request: Mapping[str, Any], replies: list[dict[str, Any]]) -> Exchange:
    text: list[str] = []
    calls: list[tuple[str, object]] = []
    for reply in replies:
        content = reply.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        for block in blocks:
            if block.get("type") == "text":
                text.append(block["text"])
            elif block.get("type") == "tool_use":
                calls.append((block["name"], block["input"]))
        asked = [call["function"] for call in reply.get("tool_calls") or ()]
        calls.extend((function["name"], _loaded(function["arguments"])) for function in asked)
    return Exchange(request, "\n".join(text), tuple(calls))


def _loaded(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def example_agent(conversations: int) -> Iterator[list[Exchange]]:
    """Yield the exchanges of the example agent's conversations, had with its own back ends now."""
    from support import customers  # noqa: PLC0415 - found in examples/
    from support.agent import SupportAgent, TaskFailed, default_client  # noqa: PLC0415
    from support.launch import running_backends  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, running_backends(folder, back_office=False) as environment:
        os.environ.update(environment)
        for number in range(conversations):
            seen: list[Exchange] = []
            agent = SupportAgent(session_id=f"useful-{number}", client=_Listening(default_client(), seen))
            for command in customers.conversation(1, number):
                with suppress(TaskFailed):  # what was sent until then was sent
                    agent.ask(command.text)
            yield seen


class _Listening:
    """A client that keeps what is asked and answered."""

    def __init__(self, client: Any, seen: list[Exchange]) -> None:
        self._client, self._seen = client, seen
        self.chat = self.completions = self

    def create(self, **request: Any) -> Any:
        """Ask, and keep a copy."""
        request["messages"] = list(request["messages"])
        reply = self._client.chat.completions.create(**request)
        said = [choice.message.model_dump(exclude_none=True) for choice in reply.choices]
        kept = {name: request[name] for name in ("messages", "tools")}
        self._seen.append(_exchange(kept, said))
        return reply
