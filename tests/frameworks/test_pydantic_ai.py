from __future__ import annotations

import asyncio

import pytest

pydantic_ai = pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
from pydantic_ai.models.openai import OpenAIChatModel  # noqa: E402 - only where it is installed
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

from otel_perfopt.signal.emit.spans import command  # noqa: E402
from otel_perfopt.signal.frameworks import openai_chat, pydantic_ai_tools  # noqa: E402

ASK = '/query call lookup {"key": "ORD-1"}; store {"key": "ORD-2", "value": 5}'
WHOLE = [
    ("/query", None),
    ("chat test-model", "/query"),
    ("execute_tool lookup", "/query"),
    ("execute_tool store", "/query"),
    ("chat test-model", "/query"),
]


@pytest.fixture(autouse=True)
def watched(instrumented):
    instrumented(openai_chat, pydantic_ai_tools)


@pytest.fixture
def model(model_url):
    return OpenAIChatModel("test-model", provider=OpenAIProvider(base_url=model_url, api_key="none"))


@pytest.fixture
def made():
    """What the tools did, in order."""
    return []


@pytest.fixture
def agent(model, made):
    """An agent as the guide writes it: a plain tool, and an asynchronous one that takes the context."""
    agent = pydantic_ai.Agent(model, deps_type=str)

    @agent.tool_plain
    def lookup(key: str, limit: int = 3) -> str:
        made.append(("lookup", key))
        return f"{key}:{limit}"

    @agent.tool
    async def store(context: pydantic_ai.RunContext[str], key: str, value: int) -> str:
        await asyncio.sleep(0.01)
        made.append(("store", key, value, context.deps))
        return "stored"

    return agent


async def test_a_run_is_a_command_with_its_calls(spans, agent, made, watching):
    """Named by the /word it was asked; tools pass the interceptor with the model's arguments only."""
    shopkeeper = agent
    result = await shopkeeper.run(ASK, deps="u", conversation_id="c-1")
    assert result.output.startswith("answer")
    assert sorted(made) == [("lookup", "ORD-1"), ("store", "ORD-2", 5, "u")]
    assert sorted(spans.tree(), key=str) == sorted(WHOLE, key=str)
    run, (first, _) = spans.one("/query"), spans.of_kind("inference")
    assert run.attributes["gen_ai.conversation.id"] == "c-1"
    for span in spans.of_kind("tool"):
        assert span.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")
    asked = {"lookup": {"key": "ORD-1"}, "store": {"key": "ORD-2", "value": 5}}
    assert watching.replies == [list(asked.items())]
    assert watching.known == ["lookup", "store"]
    assert {call.tool: dict(call.arguments) for call in watching.calls} == {
        **asked,
        "lookup": {"key": "ORD-1", "limit": 3},
    }


async def test_the_agent_takes_its_variables_name_as_ever(spans, model):
    """An agent without a name looks at its caller for one; it finds the same as without us, also when streamed."""
    clerk, keeper = pydantic_ai.Agent(model), pydantic_ai.Agent(model)
    await clerk.run("hello")
    async with keeper.run_stream("hello") as result:
        assert (await result.get_output()).startswith("answer")
    assert (clerk.name, keeper.name) == ("clerk", "keeper")
    assert [span.name for span in spans.of_kind("command")] == ["clerk", "keeper"]
    unnamed = pydantic_ai.Agent(model)
    await unnamed.run("hello", infer_name=False)
    assert unnamed.name is None


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
    assert agent.run_sync(ASK, deps="u").output.startswith("answer")
    assert sorted(spans.tree(), key=str) == sorted(WHOLE, key=str)
    assert agent.name == "agent"


async def test_a_streamed_run_is_the_same(spans, agent):
    """A streamed run is one command, open until its block ends; thinking in the model's stream is timed."""
    async with agent.run_stream(ASK, deps="u") as result:
        text = [part async for part in result.stream_text()]
    assert text[-1].startswith("answer")
    tree = spans.tree()
    assert tree.count(("thinking", "chat test-model")) == 2
    assert sorted((pair for pair in tree if pair[0] != "thinking"), key=str) == sorted(WHOLE, key=str)
    assert spans.one("/query").attributes["perfopt.command.outcome"] == "completed"


async def test_inside_a_command_and_inside_an_agent_it_is_a_step(spans, agent, model):
    """A person's command stays the command; an agent run by another one's tool is a step of that tool's call."""
    clerk = pydantic_ai.Agent(model, name="clerk")
    agent.name = "keeper"

    @clerk.tool_plain
    async def ask_keeper(question: str) -> str:
        return (await agent.run(question, deps="u")).output

    with command("/task"):
        await clerk.run('call ask_keeper {"question": "hello"}')
    assert spans.tree()[:5] == [
        ("/task", None),
        ("invoke_agent clerk", "/task"),
        ("chat test-model", "invoke_agent clerk"),
        ("execute_tool ask_keeper", "invoke_agent clerk"),
        ("invoke_agent keeper", "execute_tool ask_keeper"),
    ]


async def test_a_tool_that_raises_raises_the_same(spans, model):
    """A tool's exception reaches the caller unchanged; asking the model to try again works as ever."""
    tried = []
    agent = pydantic_ai.Agent(model, name="clerk")

    @agent.tool_plain
    def lookup(key: str) -> str:
        tried.append(key)
        if key == "again":
            raise pydantic_ai.ModelRetry("another key, please")
        raise KeyError(key)

    with pytest.raises(KeyError, match="ORD-1"):
        await agent.run('/query call lookup {"key": "ORD-1"}')
    assert (await agent.run('/query call lookup {"key": "again"}')).output.startswith("answer")
    assert tried == ["ORD-1", "again"]
    outcomes = [span.attributes["perfopt.command.outcome"] for span in spans.of_kind("command")]
    assert outcomes == ["failed", "completed"]
