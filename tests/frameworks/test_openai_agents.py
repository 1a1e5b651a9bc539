from __future__ import annotations

import asyncio
import time

import pytest

agents = pytest.importorskip("agents", reason="openai-agents is not installed")
from openai import AsyncOpenAI  # noqa: E402 - it comes with the SDK

from otel_perfopt.signal.emit.spans import command  # noqa: E402
from otel_perfopt.signal.frameworks import openai_agents, openai_chat  # noqa: E402

ASK = '/query call lookup {"key": "ORD-1"}; store {"key": "ORD-2", "value": 5}'


@pytest.fixture(autouse=True)
def watched(instrumented):
    instrumented(openai_chat, openai_agents)


@pytest.fixture
def model(model_url):
    client = AsyncOpenAI(base_url=model_url, api_key="none", max_retries=0)
    return agents.OpenAIChatCompletionsModel("test-model", client)


@pytest.fixture
def made():
    """What the tools did, in order."""
    return []


@pytest.fixture
def agent(model, made):
    """An agent as the SDK's guide writes it: an asynchronous tool, and a synchronous one that takes the context."""

    @agents.function_tool
    async def lookup(key: str, limit: int = 3) -> str:
        """Look something up."""
        await asyncio.sleep(0.01)
        made.append(("lookup", key))
        return f"{key}:{limit}"

    @agents.function_tool
    def store(context: agents.RunContextWrapper[dict], key: str, value: int) -> str:
        """Store something."""
        time.sleep(0.03)
        made.append(("store", key, value, context.context["user"]))
        return "stored"

    return agents.Agent(name="Shopkeeper", instructions="be good", model=model, tools=[lookup, store])


WHOLE = [
    ("/query", None),
    ("chat test-model", "/query"),
    ("execute_tool lookup", "/query"),
    ("execute_tool store", "/query"),
    ("chat test-model", "/query"),
]


async def test_a_run_is_a_command_with_its_calls(spans, agent, made, watching):
    """Named by the /word it was asked, with the agent's name; both tools pass the interceptor, without the context."""
    session = agents.SQLiteSession("s-1")
    result = await agents.Runner.run(agent, ASK, context={"user": "u"}, session=session)
    session.close()
    assert result.final_output == "answer 5"
    assert made == [("lookup", "ORD-1"), ("store", "ORD-2", 5, "u")]
    assert sorted(spans.tree(), key=str) == sorted(WHOLE, key=str)
    run, (first, _) = spans.one("/query"), spans.of_kind("inference")
    assert run.attributes["gen_ai.agent.name"] == "Shopkeeper"
    assert run.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert run.attributes["gen_ai.conversation.id"] == "s-1"
    assert run.attributes["perfopt.command.outcome"] == "completed"
    for span in spans.of_kind("tool"):
        assert span.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")
        assert span.attributes["gen_ai.tool.call.id"].startswith("call_")
    asked = {"lookup": {"key": "ORD-1"}, "store": {"key": "ORD-2", "value": 5}}
    assert watching.replies == [list(asked.items())]
    assert watching.known == ["lookup", "store"]
    assert {call.tool: dict(call.arguments) for call in watching.calls} == {
        **asked,
        "lookup": {"key": "ORD-1", "limit": 3},
    }


@pytest.fixture
def own_loop():
    """A loop for `run_sync`, which never closes the one it uses."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def test_a_synchronous_run_is_the_same(spans, agent, own_loop):
    """`run_sync` makes one command, not two."""
    assert agents.Runner.run_sync(agent, ASK, context={"user": "u"}).final_output == "answer 5"
    assert sorted(spans.tree(), key=str) == sorted(WHOLE, key=str)


async def test_a_streamed_run_lasts_until_its_stream_ends(spans, agent):
    """The command of `run_streamed` holds what its background task does; thinking in the stream is timed."""
    result = agents.Runner.run_streamed(agent, ASK, context={"user": "u"})
    kinds = [event.type async for event in result.stream_events()]
    assert kinds.count("run_item_stream_event") >= 5
    await asyncio.sleep(0.01)
    assert len(spans.of_kind("thinking")) == 2
    tree = [pair for pair in spans.tree() if pair[0] != "thinking"]
    assert sorted(tree, key=str) == sorted(WHOLE, key=str)
    run = spans.one("/query")
    assert all(span.end_time <= run.end_time for span in spans.of_kind("inference"))


async def test_inside_a_command_and_inside_an_agent_it_is_a_step(spans, agent, model):
    """A person's command stays the command; an agent used as a tool is a step inside that tool's call."""
    clerk = agents.Agent(
        name="Clerk", model=model, tools=[agent.as_tool("shopkeeper", "ask the shopkeeper", needs_approval=False)]
    )
    with command("/task"):
        result = await agents.Runner.run(clerk, 'call shopkeeper {"input": "hello"}')
    assert result.final_output.startswith("answer")
    tree = spans.tree()
    assert tree[0] == ("/task", None)
    assert ("invoke_agent Clerk", "/task") in tree
    inner = [parent for name, parent in tree if name == "invoke_agent Shopkeeper"]
    assert inner in (["invoke_agent Clerk"], ["execute_tool shopkeeper"])
    assert len(spans.of_kind("command")) == 1
    assert len({span.context.trace_id for span in spans.all}) == 1


async def test_handoffs_stay_in_one_command(spans, agent, model):
    """An agent that hands over is one command with the agent it hands over to."""
    front = agents.Agent(name="Front", model=model, handoffs=[agent])
    result = await agents.Runner.run(front, "call transfer_to_shopkeeper {}", context={"user": "u"})
    assert result.last_agent is agent
    assert [span.attributes["gen_ai.agent.name"] for span in spans.of_kind("command")] == ["Front"]
    assert len(spans.of_kind("inference")) == 2


async def test_errors_and_the_sdks_own_traces_are_as_ever(spans, model, watching):
    """A tool that raises gives the model the SDK's own words; a failing run raises the SDK's error; its traces are the same."""

    class Traces(agents.tracing.TracingProcessor):
        def __init__(self):
            self.names = []

        def on_trace_start(self, trace):
            self.names.append("trace")

        def on_span_start(self, span):
            self.names.append(type(span.span_data).__name__)

        def on_trace_end(self, trace):
            pass

        on_span_end = shutdown = force_flush = lambda *_: None

    @agents.function_tool
    def lookup(key: str) -> str:
        raise ValueError("no such key")

    agent = agents.Agent(name="Shop", model=model, tools=[lookup])
    traces = Traces()
    agents.set_trace_processors([traces])
    try:
        result = await agents.Runner.run(agent, 'call lookup {"key": "a"}')
        with pytest.raises(agents.MaxTurnsExceeded):
            await agents.Runner.run(agent, 'call lookup {"key": "b"}', max_turns=1)
    finally:
        agents.set_trace_processors([])
    outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    assert outputs[0].startswith("An error occurred while running the tool.")
    assert traces.names.count("FunctionSpanData") == 2
    assert traces.names.count("GenerationSpanData") == 3
    assert [span.attributes["error.type"] for span in spans.of_kind("tool")] == ["ValueError"] * 2
    assert [span.attributes["perfopt.command.outcome"] for span in spans.of_kind("command")] == ["completed", "failed"]


async def test_runs_at_the_same_time_are_kept_apart(spans, agent):
    """Each of several runs at once has its own calls under its own command."""
    asked = [f'/q{number} call lookup {{"key": "{number}"}}' for number in range(5)]
    await asyncio.gather(*(agents.Runner.run(agent, text, context={"user": "u"}) for text in asked))
    for number in range(5):
        children = [name for name, parent in spans.tree() if parent == f"/q{number}"]
        assert children == ["chat test-model", "execute_tool lookup", "chat test-model"]
