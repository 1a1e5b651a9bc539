"""Recorded model calls (vcrpy cassettes) in, the same calls made again with the real clients out.

Runs in a family's own environment too, so it imports nothing of this project.
"""

# ruff: noqa: PLC0415 - an environment has only the packages that its jobs need
from __future__ import annotations

import asyncio
import gzip
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

# Where a request goes -> (client, attribute path of the method that makes it).
METHODS = {
    "/chat/completions": ("openai", "chat.completions.create"),
    "/responses": ("openai", "responses.create"),
    "/embeddings": ("openai", "embeddings.create"),
    "/v1/completions": ("openai", "completions.create"),
    "/v1/messages": ("anthropic", "messages.create"),
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RecordedCall:
    """One recorded request with its reply: which client makes it, with what, and what came back."""

    client: str
    method: str
    base_url: str
    request: dict[str, Any]
    status: int
    reply: bytes

    @property
    def streams(self) -> bool:
        """Tell whether the reply was asked for as a stream."""
        return bool(self.request.get("stream"))


def recorded_calls(cassette: Path) -> list[RecordedCall]:
    """Return the model calls of a cassette in order; requests of other kinds are left out."""
    interactions = yaml.load(cassette.read_text(), Loader=_LOADER)["interactions"]
    return [call for call in map(_call, interactions) if call is not None]


def _call(interaction: dict[str, Any]) -> RecordedCall | None:
    request, response = interaction["request"], interaction["response"]
    parts = urlsplit(request["uri"])
    ending = next((ending for ending in METHODS if parts.path.endswith(ending)), None)
    body = request.get("body")
    if ending is None or not body:
        return None
    client, method = METHODS[ending]
    base = parts.path.removesuffix("/v1/messages" if client == "anthropic" else ending.removeprefix("/v1"))
    return RecordedCall(
        client=client,
        method=f"beta.{method}" if "beta=true" in parts.query else method,
        base_url=f"{parts.scheme}://{parts.netloc}{base}",
        request=json.loads(body),
        status=response["status"]["code"],
        reply=_unpacked(response["body"].get("string", "")),
    )


def _unpacked(said: str | bytes) -> bytes:
    data = said if isinstance(said, bytes) else said.encode()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def make_again(call: RecordedCall, *, asynchronous: bool) -> str:
    """Make one call with the real client and read its reply to the end; return the kind of error it ended with."""
    try:
        if asynchronous:
            asyncio.run(_make_async(call))
        else:
            _make(call)
    except Exception as error:
        return type(error).__name__
    return ""


def _make(call: RecordedCall) -> None:
    with _client(call, asynchronous=False) as client:
        method = _method(client, call)
        reply = method(**_arguments(method, call))
        if call.streams:
            for _ in reply:
                pass


async def _make_async(call: RecordedCall) -> None:
    async with _client(call, asynchronous=True) as client:
        method = _method(client, call)
        reply = await method(**_arguments(method, call))
        if call.streams:
            async for _ in reply:
                pass


def _client(call: RecordedCall, *, asynchronous: bool) -> Any:
    options = {"api_key": "none", "base_url": call.base_url, "max_retries": 0}
    if call.client == "openai":
        import openai

        return openai.AsyncOpenAI(**options) if asynchronous else openai.OpenAI(**options)
    import anthropic

    return anthropic.AsyncAnthropic(**options) if asynchronous else anthropic.Anthropic(**options)


def _method(client: Any, call: RecordedCall) -> Any:
    found = client
    for name in call.method.split("."):
        found = getattr(found, name)
    return found


def _arguments(method: Any, call: RecordedCall) -> dict[str, Any]:
    """A parameter that the client knows no longer goes in `extra_body`."""
    known = inspect.signature(inspect.unwrap(method)).parameters
    extra = {name: value for name, value in call.request.items() if name not in known}
    arguments = {name: value for name, value in call.request.items() if name in known}
    return {**arguments, "extra_body": extra} if extra else arguments
