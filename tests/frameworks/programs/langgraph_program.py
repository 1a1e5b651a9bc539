"""A support agent on LangGraph, as its guide writes one: asked synchronously, then streamed, two at once."""

import asyncio
import json

from langchain.agents import create_agent
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from support.agent import SYSTEM_PROMPT
from support.tools import TOOLS

QUESTIONS = (
    "/query Where is my order O-1003? I am customer C-002.",
    "/query Is order O-1001 shipped? I am customer C-001.",
    "/query Where is my order O-9999? I am customer C-003.",
)
tools = [
    StructuredTool.from_function(function, name=name, description=name, handle_tool_error=True)
    for name, function in TOOLS.items()
]
agent = create_agent(
    ChatOpenAI(model="support-model", stream_usage=True, reasoning_effort="low"),
    tools,
    system_prompt=SYSTEM_PROMPT,
    name="support",
)


def said(messages):
    return [
        [message.type, message.content, getattr(message, "tool_calls", None) and len(message.tool_calls)]
        for message in messages
    ]


def ask(question, thread):
    result = agent.invoke({"messages": [("user", question)]}, {"configurable": {"thread_id": thread}})
    return said(result["messages"])


async def stream(question, thread):
    last = None
    async for mode, part in agent.astream(
        {"messages": [("user", question)]},
        {"configurable": {"thread_id": thread}},
        stream_mode=["values", "messages"],
    ):
        last = part if mode == "values" else last
    return said(last["messages"])


async def both():
    return await asyncio.gather(*(stream(question, f"t-{n}") for n, question in enumerate(QUESTIONS[:2], 1)))


def outcome(call):
    try:
        return call()
    except Exception as error:
        return [type(error).__name__, str(error)]


results = [outcome(lambda: ask(QUESTIONS[0], "t-0")), asyncio.run(both()), outcome(lambda: ask(QUESTIONS[2], "t-3"))]
print(json.dumps(results, sort_keys=True))
