from __future__ import annotations

import asyncio
import gc
import sys
import textwrap
import weakref

import pytest

pytest.importorskip("mcp", reason="mcp is not installed")
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit import runs
from otel_perfopt.signal.emit.spans import command
from otel_perfopt.signal.emit.tools import known_tool
from otel_perfopt.signal.frameworks import mcp_session

SERVER = """
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("shop")
calls = []

@server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True))
def lookup(key: str, limit: int = 3) -> str:
    calls.append(key)
    if key == "none":
        raise ValueError("no such key")
    return f"{key}:{limit}"

@server.tool(annotations=ToolAnnotations(read_only_hint=False))
def store(key: str) -> str:
    return "stored"

@server.tool()
def count() -> int:
    return len(calls)

server.run(transport="stdio")
"""


@pytest.fixture(autouse=True)
def watched(instrumented):
    instrumented(mcp_session)


@pytest.fixture
def server(tmp_path):
    """A real server in a process of its own."""
    script = tmp_path / "shop.py"
    script.write_text(textwrap.dedent(SERVER))
    return StdioServerParameters(command=sys.executable, args=[str(script)])


async def test_calls_of_a_real_server_are_tool_calls(spans, server, watching):
    """Each call is a span with the server's word on its effects; results and errors are the client's own."""
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await session.list_tools()
        with command("/query") as scope:
            requests = [ToolRequest("call_1", "lookup", {"key": "ORD-1"})]
            runs.remember_requests(scope.run, requests, "00000000000000aa")
            found = await session.call_tool("lookup", {"key": "ORD-1"})
            failed = await session.call_tool("lookup", arguments={"key": "none"})
            await session.call_tool("store", {"key": "a"}, read_timeout_seconds=5)
            counted = await session.call_tool("count")
    assert found.content[0].text == "ORD-1:3"
    assert failed.is_error
    assert failed.content[0].text == "Error executing tool lookup"
    assert counted.content[0].text == "2"
    tools = spans.of_kind("tool")
    assert [span.name.split()[1] for span in tools] == ["lookup", "lookup", "store", "count"]
    assert [span.attributes["perfopt.tool.effects"] for span in tools] == ["read", "read", "write", "unknown"]
    assert {span.parent.span_id for span in tools} == {spans.one("/query").context.span_id}
    assert tools[0].attributes["gen_ai.tool.call.id"] == "call_1"
    assert tools[1].attributes["error.type"] == "tool_error"
    assert not any("Error executing" in str(event.attributes) for event in tools[1].events)
    # The client's own spans stand inside ours.
    inner = [span for span in spans.all if span.name.startswith("MCP send tools/call")]
    assert {span.parent.span_id for span in inner} <= {span.context.span_id for span in tools}
    assert [dict(call.arguments) for call in watching.calls] == [{"key": "ORD-1"}, {"key": "none"}, {"key": "a"}, {}]
    assert watching.calls[0].function is watching.calls[1].function is not watching.calls[2].function


async def test_what_is_kept_is_given_back_and_errors_are_not_kept(spans, server):
    """An interceptor may answer from what it kept; an error result is an exception to it, and a result to the caller."""
    kept, errors = {}, []

    class Cache:
        async def around_tool_async(self, call, execute):
            key = (call.function, tuple(sorted(call.kwargs.items())))
            if key not in kept:
                try:
                    kept[key] = await execute(call)
                except Exception as error:
                    errors.append(type(error).__name__)
                    raise
            return kept[key]

        def on_reply(self, run, requests, functions):
            pass

    from otel_perfopt.signal.emit import tool_calls  # noqa: PLC0415 - taken away again by `clean`

    tool_calls.set_interceptor(Cache())
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        texts = []
        for _ in range(2):
            texts += [(await session.call_tool("lookup", {"key": key})).content[0].text for key in ("a", "none")]
        assert (await session.call_tool("count")).content[0].text == "3"
    assert texts[0] == texts[2] == "a:3"
    assert texts[1] == texts[3]
    assert len(errors) == 2


async def test_a_template_stands_for_the_session_without_keeping_it(spans, server):
    """What may be started early is the session's own call; when the session is gone it says so, and nothing is kept."""
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await session.call_tool("lookup", {"key": "a"})
        template = known_tool("lookup").template()
        assert (await template.function(key="b")).content[0].text == "b:3"
        gone = weakref.ref(session)
    del session
    await asyncio.sleep(0)
    gc.collect()
    if gone() is None:
        with pytest.raises(RuntimeError, match="gone"):
            await template.function(key="c")


async def test_a_call_that_is_cancelled_or_wrong_is_as_ever(spans, server):
    """Cancelling a call cancels it; arguments that are no mapping are the client's to refuse."""
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        with pytest.raises(TypeError):
            await session.call_tool()
        with pytest.raises(Exception, match="dict"):
            await session.call_tool("lookup", ["ORD-1"])
        task = asyncio.create_task(session.call_tool("lookup", {"key": "a"}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.call_tool("lookup", {"key": "b"})).content[0].text == "b:3"
    cancelled, _ = spans.of_kind("tool")
    assert "error.type" not in cancelled.attributes
