"""Agents on real frameworks, as a user would write them: a recorded conversation's replies in, an agent's run out.

Run inside a family's environment, under vcrpy where they call a model; no instrumentation is named here.
"""

# ruff: noqa: PLC0415 - an environment has only the packages that its jobs need
from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

os.environ.setdefault("OPENAI_API_KEY", "none")
os.environ.setdefault("ANTHROPIC_API_KEY", "none")


def langchain_agent() -> str:
    """A LangGraph agent of LangChain: the model streams a tool call, the tool runs, the model answers."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def get_weather(location: str) -> str:
        """Get the weather for a location."""
        return f"sunny in {location}, station LDN-4711"

    model = ChatOpenAI(model="gpt-4o-mini", temperature=0.0, streaming=True, stream_usage=True, max_retries=0)
    agent = create_agent(model, [get_weather], system_prompt="You are a helpful assistant.", name="weather_agent")
    asked = {"messages": [{"role": "user", "content": "What's the weather in London?"}]}
    for _ in agent.stream(asked, config={"configurable": {"thread_id": "thread-7"}}):
        pass
    return ""


def openai_agents_agent() -> str:
    """An agent of the OpenAI Agents SDK on chat completions: a tool call, the tool, the answer."""
    import agents

    @agents.function_tool
    def get_weather(city: str) -> str:
        """Get the weather for a city."""
        return f"sunny in {city}, station PAR-0815"

    agents.set_default_openai_api("chat_completions")
    agent = agents.Agent(name="weather_agent", model="gpt-4o-mini", tools=[get_weather])
    asyncio.run(agents.Runner.run(agent, "What's the weather in Paris?"))
    return ""


def langchain_calls(calls: list[Any]) -> str:
    """Make recorded calls through LangChain's chat models instead of the clients themselves."""
    for call in calls:
        request = dict(call.request)
        tools = request.get("tools")
        chat = _chat_model(call, request)
        chat = chat.bind_tools(tools) if tools else chat
        if not call.streams:
            chat.invoke(request["messages"])
            continue
        for _ in chat.stream(request["messages"]):
            pass
    return ""


def _chat_model(call: Any, request: dict[str, Any]) -> Any:
    if call.client == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=request["model"], base_url=call.base_url, max_retries=0, stream_usage=True)
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=request["model"], max_retries=0, max_tokens=request["max_tokens"])


SERVER = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def get_weather(city: str) -> str:
    "Get the weather for a city."
    if city == "Atlantis":
        raise ValueError("no such city")
    return f"sunny in {city}, station ROM-2342"


@server.resource("notes://{name}")
def note(name: str) -> str:
    return f"a note of {name}"
"""


def mcp_in_process() -> str:
    """An MCP client and server in one process: a tool that answers, one that fails, a resource."""

    async def calls() -> None:
        from mcp import Client

        made: dict[str, Any] = {}
        exec(SERVER, made)
        async with Client(made["server"]) as client:
            await client.call_tool("get_weather", {"city": "Rome"})
            await client.call_tool("get_weather", {"city": "Atlantis"})
            await client.read_resource("notes://LDN-4711")

    asyncio.run(calls())
    return ""


def mcp_over_stdio() -> str:
    """An MCP client in this process, its server in another one."""

    async def calls() -> None:
        from mcp import Client, StdioServerParameters

        code = f"{SERVER}\nserver.run()\n"
        async with Client(StdioServerParameters(command=sys.executable, args=["-c", code])) as client:
            await client.call_tool("get_weather", {"city": "Rome"})

    asyncio.run(calls())
    return ""


RUNS = {
    "langchain_agent": langchain_agent,
    "openai_agents_agent": openai_agents_agent,
    "mcp_in_process": mcp_in_process,
    "mcp_over_stdio": mcp_over_stdio,
}
