"""A support agent on the OpenAI Agents SDK, as its guide writes one: run, then streamed, two at once."""

import asyncio
import json

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from support.agent import SYSTEM_PROMPT
from support.tools import TOOLS

QUESTIONS = (
    "/query Where is my order O-1003? I am customer C-002.",
    "/query Is order O-1001 shipped? I am customer C-001.",
    "/query Where is my order O-9999? I am customer C-003.",
)


def as_json(name):
    """The shop's function with the type the SDK asks for: what it returns goes to the model as JSON."""
    function = TOOLS[name]
    parameter = function.__code__.co_varnames[0]
    namespace = {"function": function, "json": json}
    exec(f"def {name}({parameter}: str) -> str:\n    return json.dumps(function({parameter}))", namespace)
    return function_tool(namespace[name])


READS = ("get_customer", "get_order", "list_orders", "list_notes", "search_docs", "shipping_status", "inventory")


async def main():
    client = AsyncOpenAI()
    agent = Agent(
        name="Support",
        instructions=SYSTEM_PROMPT,
        model=OpenAIChatCompletionsModel("support-model", client),
        model_settings=ModelSettings(reasoning=Reasoning(effort="low"), include_usage=True),
        tools=[as_json(name) for name in READS],
    )

    def said(result):
        return [result.final_output, [[item.type, getattr(item, "output", None)] for item in result.new_items]]

    async def stream(question):
        result = Runner.run_streamed(agent, question)
        kinds = [event.type async for event in result.stream_events()]
        return [*said(result), len(kinds)]

    results = [said(await Runner.run(agent, QUESTIONS[0]))]
    results.append(await asyncio.gather(*(stream(question) for question in QUESTIONS[:2])))
    results.append(said(await Runner.run(agent, QUESTIONS[2])))
    try:
        await Runner.run(agent, QUESTIONS[0], max_turns=1)
    except Exception as error:
        results.append([type(error).__name__, str(error)])
    await client.close()
    print(json.dumps(results, sort_keys=True))


set_tracing_disabled(True)
asyncio.run(main())
