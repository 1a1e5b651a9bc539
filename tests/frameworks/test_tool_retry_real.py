"""Failed reads made again through real clients: an HTTP service, and a server of the Model Context Protocol."""

from __future__ import annotations

import sys
import textwrap

import pytest

from otel_perfopt.decide.decision import Match
from otel_perfopt.signal.emit import tool_calls
from otel_perfopt.signal.emit.spans import command, tool
from otel_perfopt.signal.frameworks import mcp_session
from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import decision

httpx = pytest.importorskip("httpx")

BROKEN = {"error": "come back"}


@pytest.fixture
def retrying(governed):
    """Call it with parameters: tools' calls go through a runtime that makes reads again."""

    def put_in_force(**parameters):
        chosen = {"backoff_s": 0.001, "budget": 0.5, **parameters}
        tool_calls.set_interceptor(governed(decision("retry_hedge", chosen, match=Match(tool=("*",)))))

    yield put_in_force
    tool_calls.set_interceptor(None)


def stock_tool(url, effects):
    @tool("stock", effects=effects)
    def stock(item):
        answer = httpx.post(f"{url}/stock", json={"item": item})
        answer.raise_for_status()
        return answer.json()

    return stock


def test_each_try_is_a_span(provider, retrying, spans):
    """A service that fails once: the agent sees nothing of it, and the trace has the failed try and the good one."""
    retrying()
    provider.play(json_answer(BROKEN, 503), json_answer({"left": 3}))
    with command("/query"):
        assert stock_tool(provider.url, "read")("A-1") == {"left": 3}
    failed, good = spans.of_kind("tool")
    assert failed.attributes["error.type"] == "httpx.HTTPStatusError"
    assert "error.type" not in good.attributes
    assert good.parent == failed.parent
    assert spans.of_kind("command")[0].attributes["perfopt.policy.retry-hedge.retries"] == 1


@pytest.mark.parametrize(("effects", "status"), [("write", 503), ("unknown", 503), ("read", 404), ("read", 501)])
def test_one_request_is_sent(provider, retrying, effects, status):
    """For a tool that may write, and for an answer that stays what it is."""
    retrying(retries=5)
    provider.play(json_answer(BROKEN, status), json_answer({"left": 3}))
    with command("/query"), pytest.raises(httpx.HTTPStatusError):
        stock_tool(provider.url, effects)("A-1")
    assert len(provider.requests) == 1


SERVER = """
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("shop")
calls = []

def answer(key):
    calls.append(key)
    if len(calls) == 1:
        raise RuntimeError("back end away")
    return f"{key} after {len(calls)}"

@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def lookup(key: str) -> str:
    return answer(key)

@server.tool(annotations=ToolAnnotations(read_only_hint=False))
def store(key: str) -> str:
    return answer(key)

server.run(transport="stdio")
"""


@pytest.mark.parametrize(
    "case",
    [("lookup", ["tool_error"], True), ("lookup", [], False), ("store", ["tool_error"], False)],
)
async def test_a_result_that_is_an_error_is_one_where_the_policy_says_so(instrumented, tmp_path, retrying, case):
    """`transient: tool_error`: an MCP result that says it is an error is asked for again; else it is the client's own."""
    name, named, again = case
    mcp = pytest.importorskip("mcp", reason="mcp is not installed")
    stdio = pytest.importorskip("mcp.client.stdio")
    instrumented(mcp_session)
    retrying(transient=named)
    script = tmp_path / "shop.py"
    script.write_text(textwrap.dedent(SERVER))
    server = mcp.StdioServerParameters(command=sys.executable, args=[str(script)])
    async with stdio.stdio_client(server) as streams, mcp.ClientSession(*streams) as session:
        await session.initialize()
        await session.list_tools()
        with command("/query"):
            result = await session.call_tool(name, {"key": "a"})
    assert result.is_error is not again
    assert not again or result.content[0].text == "a after 2"
