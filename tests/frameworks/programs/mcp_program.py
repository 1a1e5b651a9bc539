"""A support agent whose tools are an MCP server's: a loop around the official client, its replies streamed."""

import asyncio
import json
import os
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from openai import AsyncOpenAI
from support.agent import SYSTEM_PROMPT

QUESTIONS = (
    "/query Where is my order O-1003? I am customer C-002.",
    "/query Is order O-1001 shipped? I am customer C-001.",
    "/query Where is my order O-9999? I am customer C-003.",
)
SERVER = StdioServerParameters(
    command=sys.executable,
    args=[str(Path(__file__).parent / "mcp_server.py")],
    env={name: os.environ[name] for name in ("PATH", "SUPPORT_SHOP_URL", "SUPPORT_DATABASE", "PYTHONPATH")},
)


async def reply_of(client, messages, tools):
    text, calls = "", {}
    stream = await client.chat.completions.create(
        model="support-model",
        messages=messages,
        tools=tools,
        reasoning_effort="low",
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for part in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    part.index, {"id": part.id, "type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["function"]["name"] += part.function.name or ""
                call["function"]["arguments"] += part.function.arguments or ""
    return text, list(calls.values())


async def ask(client, session, tools, question):
    messages = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": question}]
    while True:
        text, calls = await reply_of(client, messages, tools)
        if not calls:
            return [text, [message["content"] for message in messages[2:]]]
        messages.append({"role": "assistant", "content": text, "tool_calls": calls})
        for call in calls:
            result = await session.call_tool(call["function"]["name"], json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content[0].text})


async def main():
    async with AsyncOpenAI() as client, stdio_client(SERVER) as streams, ClientSession(*streams) as session:
        await session.initialize()
        tools = [
            {"type": "function", "function": {"name": tool.name, "parameters": tool.input_schema}}
            for tool in (await session.list_tools()).tools
        ]
        results = [await ask(client, session, tools, QUESTIONS[0])]
        results.append(await asyncio.gather(*(ask(client, session, tools, question) for question in QUESTIONS[:2])))
        results.append(await ask(client, session, tools, QUESTIONS[2]))
    print(json.dumps(results, sort_keys=True))


asyncio.run(main())
