from __future__ import annotations

import asyncio
import time
from typing import Annotated

import pytest

pytest.importorskip("langgraph", reason="langgraph is not installed")
pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from otel_perfopt.signal.emit.spans import command
from otel_perfopt.signal.frameworks import langchain_tools, langgraph_runs, openai_chat, openai_responses

ASK = '/query call lookup {"key": "ORD-1"}; store {"key": "ORD-2", "value": 5}'


@pytest.fixture(autouse=True)
def watched(instrumented):
    instrumented(openai_chat, openai_responses, langchain_tools, langgraph_runs)


@pytest.fixture
def model(model_url):
    return ChatOpenAI(model="test-model", base_url=model_url, api_key="none", max_retries=0)


@pytest.fixture
def made():
    """What the tools did, in order."""
    return []


@pytest.fixture
def tools(made):
    """Three kinds of tools: a decorated function with things LangChain fills in, and a class of one's own."""

    @tool
    def lookup(key: str, config: RunnableConfig, call_id: Annotated[str, InjectedToolCallId], limit: int = 3) -> str:
        """Look something up."""
        time.sleep(0.02)
        made.append(("lookup", key, call_id[:5], config["configurable"]["thread_id"]))
        return f"{key}:{limit}"

    class Store(BaseTool):
        name: str = "store"
        description: str = "Store something."

        def _run(self, key: str, value: int, run_manager=None) -> str:
            made.append(("store", key, value))
            return "stored"

        async def _arun(self, key: str, value: int, run_manager=None) -> str:
            return self._run(key, value)

    return [lookup, Store()]


@pytest.fixture
def graph(model, tools):
    """An agent as LangGraph's guide writes it."""
    bound = model.bind_tools(tools)

    def ask(state: MessagesState, config: RunnableConfig):
        return {"messages": [bound.invoke(state["messages"], config)]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "ask")
    builder.add_conditional_edges("ask", tools_condition, {"tools": "tools", END: END})
    builder.add_edge("tools", "ask")
    return builder.compile(checkpointer=InMemorySaver(), name="shop")


CONFIG = {"configurable": {"thread_id": "t-1", "user_id": "u-1"}}
WHOLE = [
    ("/query", None),
    ("chat test-model", "/query"),
    ("execute_tool lookup", "/query"),
    ("execute_tool store", "/query"),
    ("chat test-model", "/query"),
]
ASKED = {"messages": [{"role": "user", "content": ASK}]}


def check(spans):
    assert sorted(spans.tree(), key=str) == sorted(WHOLE, key=str)
    run, (first, _) = spans.one("/query"), spans.of_kind("inference")
    assert run.attributes["gen_ai.agent.name"] == "shop"
    assert run.attributes["gen_ai.conversation.id"] == "t-1"
    assert run.attributes["user.id"] == "u-1"
    for span in spans.of_kind("tool"):
        assert span.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")


def test_a_run_is_a_command_with_its_calls(spans, graph, made, watching):
    """One span for each model call though two layers make it; tools pass the interceptor with the model's arguments only."""
    assert graph.invoke(ASKED, CONFIG)["messages"][-1].content == "answer 4"
    assert sorted(made) == [("lookup", "ORD-1", "call_", "t-1"), ("store", "ORD-2", 5)]
    check(spans)
    asked = {"lookup": {"key": "ORD-1"}, "store": {"key": "ORD-2", "value": 5}}
    assert watching.replies == [list(asked.items())]
    assert {call.tool: dict(call.arguments) for call in watching.calls} == {
        **asked,
        "lookup": {"key": "ORD-1", "limit": 3},
    }


async def test_an_asynchronous_run_is_the_same(spans, graph, made):
    """Asynchronously too, where a tool's asynchronous method calls its synchronous one: one span for it."""
    assert (await graph.ainvoke(ASKED, CONFIG))["messages"][-1].content == "answer 4"
    check(spans)


def test_a_streamed_run_is_the_same(spans, graph):
    """What is streamed comes in the same order; what the consumer does between is outside the command."""
    steps = []
    for part in graph.stream(ASKED, CONFIG, stream_mode="updates"):
        with command("/between"):
            steps.extend(part)
    assert steps == ["ask", "tools", "ask"]
    tree = spans.tree()
    assert tree.count(("/between", None)) == 3
    assert sorted((pair for pair in tree if pair[0] != "/between"), key=str) == sorted(WHOLE, key=str)


async def test_tokens_streamed_asynchronously_time_the_thinking(spans, graph):
    """With messages streamed token by token, thinking in the model's stream is timed inside its call."""
    parts = [part async for part, _ in graph.astream(ASKED, CONFIG, stream_mode="messages")]
    assert len(parts) > 4
    tree = spans.tree()
    assert tree.count(("thinking", "chat test-model")) == 2
    assert sorted((pair for pair in tree if pair[0] != "thinking"), key=str) == sorted(WHOLE, key=str)


def test_a_graph_in_a_graph_and_in_a_command_is_a_step(spans, graph):
    """A person's command stays the command; a graph run by another one's node is a step of it."""
    outer = StateGraph(MessagesState)
    outer.add_node("inner", lambda state: graph.invoke(state, CONFIG))
    outer.add_edge(START, "inner")
    with command("/task"):
        outer.compile(name="front").invoke({"messages": [("user", "hello")]})
    assert spans.tree()[:4] == [
        ("/task", None),
        ("invoke_agent front", "/task"),
        ("invoke_agent shop", "invoke_agent front"),
        ("chat test-model", "invoke_agent shop"),
    ]


EARLIER = StructuredTool.from_function(lambda key: f"found {key}", name="find", description="Find.")


def test_langchains_own_agent_and_tools_made_before(spans, model, tools):
    """`create_agent` is a graph like any other; a tool that was made before the instrumentation is taken when run."""
    agent = create_agent(model, [EARLIER, *tools], name="clerk")
    result = agent.invoke({"messages": [("user", '/find call find {"key": "a"}')]})
    assert [message.content for message in result["messages"]][2] == "found a"
    assert spans.tree() == [
        ("/find", None),
        ("chat test-model", "/find"),
        ("execute_tool find", "/find"),
        ("chat test-model", "/find"),
    ]


def test_a_tool_that_raises_raises_the_same(spans, model):
    """The exception reaches the caller unchanged, and its traceback begins where it was raised."""

    @tool
    def lookup(key: str) -> str:
        """Look something up."""
        raise KeyError(key)

    agent = create_agent(model, [lookup], name="clerk")
    with pytest.raises(KeyError, match="ORD-1"):
        agent.invoke({"messages": [("user", '/query call lookup {"key": "ORD-1"}')]})
    assert spans.one("execute_tool lookup").attributes["error.type"] == "KeyError"
    assert spans.one("/query").attributes["perfopt.command.outcome"] == "failed"


async def test_runs_at_the_same_time_are_kept_apart(spans, graph):
    """Each of several runs at once has its own calls under its own command."""

    def ask(number):
        asked = {"messages": [("user", f'/q{number} call store {{"key": "{number}", "value": {number}}}')]}
        return graph.ainvoke(asked, {"configurable": {"thread_id": f"t-{number}"}})

    await asyncio.gather(*(ask(number) for number in range(5)))
    for number in range(5):
        children = [name for name, parent in spans.tree() if parent == f"/q{number}"]
        assert children == ["chat test-model", "execute_tool store", "chat test-model"]
