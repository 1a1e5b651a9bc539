from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from otel_perfopt.bootstrap.environment import FOLDER, run_environment

pytest.importorskip("openai")

AGENT = """
import json, os, sys
from openai import OpenAI

def lookup(key, limit=3):
    return {"key": key, "limit": limit}

class Store:
    def store(self, key, value=None):
        return {"stored": key}

STORE = Store()
TOOLS = {"lookup": lookup, "store": STORE.store}
SCHEMAS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in TOOLS]
client = OpenAI(base_url=os.environ["MODEL_URL"], api_key="none")

def ask(text):
    messages = [{"role": "user", "content": text}]
    while True:
        reply = client.chat.completions.create(model="test-model", messages=messages, tools=SCHEMAS)
        message = reply.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content
        for call in message.tool_calls:
            result = TOOLS[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})

QUESTION = '/query call lookup {"key": "ORD-1"}; store {"key": "ORD-2", "value": 5}'
"""


@pytest.fixture
def run(tmp_path, model_url):
    """Run a program as `perfopt run` does; its process, and what it left in the home folder."""

    def start(code: str, *, wait: bool = True, name: str = "agent.py", **options):
        script = tmp_path / name
        script.write_text(AGENT + textwrap.dedent(code))
        base = {**os.environ, "MODEL_URL": model_url, "PYTHONPATH": ""}
        env = run_environment(base, tmp_path / "home", **options)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script)],
            env=env,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if wait:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert err == ""
            return out
        return process

    start.home = tmp_path / "home"
    return start


def spans_in(home: Path) -> list[dict]:
    found = []
    for path in (home / "telemetry").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                service = {item["key"]: item["value"] for item in resource["resource"]["attributes"]}["service.name"]
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        said = {item["key"]: next(iter(item["value"].values())) for item in span.get("attributes", ())}
                        if "perfopt.duration.estimated" in said:
                            continue
                        found.append({**span, "said": said, "service": service["stringValue"], "file": path.name})
    return sorted(found, key=lambda span: int(span["startTimeUnixNano"]))


def tree(spans: list[dict]) -> list[tuple[str, str | None]]:
    names = {span["spanId"]: span["name"] for span in spans}
    return [(span["name"], names.get(span.get("parentSpanId", ""))) for span in spans]


WHOLE = [
    ("/query", None),
    ("chat test-model", "/query"),
    ("execute_tool lookup", "/query"),
    ("execute_tool store", "/query"),
    ("chat test-model", "/query"),
]


def test_an_unchanged_program_leaves_well_nested_telemetry(run):
    """Functions of `__main__`, in a table, one of them a bound method: found and nested without configuration."""
    assert run("print(ask(QUESTION))") == "answer 4\n"
    spans = spans_in(run.home)
    assert tree(spans) == WHOLE
    assert {span["service"] for span in spans} == {"agent"}
    assert {span["said"]["perfopt.requested_by"] for span in spans[2:4]} == {spans[1]["spanId"]}
    assert "ORD-" not in json.dumps(spans)


def test_commands_tools_and_effects_named_in_configuration(run):
    """A function becomes a command without a change to it, under the name given, and effects are declared."""
    run("print(ask(QUESTION))", commands=["__main__:ask=/asked"], tools=["__main__:lookup"], effects=["look*=read"])
    spans = spans_in(run.home)
    # `__main__` is complete only at the first model call, inside the first call of its functions.
    assert [name for name, _ in tree(spans)][1:] == [name for name, _ in WHOLE][1:]
    effects = {span["name"]: span["said"]["perfopt.tool.effects"] for span in spans if "tool" in span["name"]}
    assert effects == {"execute_tool lookup": "read", "execute_tool store": "unknown"}


def test_a_module_imported_later_is_taken_over_at_its_import(run, tmp_path):
    """Functions of a module that is not loaded yet, methods and globs included; from-imports see it too."""
    (tmp_path / "shop.py").write_text(
        "class Shop:\n"
        "    def ask(self, text, conversation_id=''):\n"
        "        return find(text) + _hidden()\n"
        "def find(text):\n    return text.upper()\n"
        "def _hidden():\n    return '!'\n"
    )
    out = run(
        "from shop import Shop, find\nprint(Shop().ask('/task now', conversation_id='c-1'), find('x'))",
        commands=["shop:Shop.ask"],
        tools=["shop:*"],
    )
    assert out == "/TASK NOW! X\n"
    spans = spans_in(run.home)
    assert tree(spans) == [("/task", None), ("execute_tool find", "/task"), ("execute_tool find", None)]
    assert spans[0]["said"]["gen_ai.conversation.id"] == "c-1"


def test_discovery_can_be_switched_off(run):
    """Without discovery only model calls are seen."""
    run("print(ask(QUESTION))", discover_tools=False)
    assert [name for name, _ in tree(spans_in(run.home))] == ["/query", "chat test-model", "chat test-model"]


def test_child_processes_are_instrumented_too(run):
    """Subprocesses inherit it; forked workers write files of their own and lose nothing."""
    run(
        """
        import multiprocessing, subprocess
        if __name__ == "__main__":
            if os.environ.get("CHILD"):
                ask(QUESTION)
            else:
                subprocess.run([sys.executable, __file__], env={**os.environ, "CHILD": "1"}, check=True)
                ask(QUESTION)
                import warnings
                warnings.simplefilter("ignore")
                worker = multiprocessing.get_context("fork").Process(target=ask, args=(QUESTION,))
                worker.start()
                worker.join()
                assert worker.exitcode == 0
        """
    )
    spans = spans_in(run.home)
    by_file: dict[str, list[dict]] = {}
    for span in spans:
        by_file.setdefault(span["file"], []).append(span)
    assert [tree(part) for part in by_file.values()] == [WHOLE, WHOLE, WHOLE]


def test_many_threads_from_the_first_moment(run):
    """Commands that begin at once on many threads are all kept, however long the first one's set-up takes."""
    run(
        """
        from concurrent.futures import ThreadPoolExecutor
        from otel_perfopt import command
        def one(n):
            with command(f"/n{n}"):
                return ask(QUESTION)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(one, range(8))) == {"answer 4"}
        """
    )
    spans = spans_in(run.home)
    assert sorted(span["name"] for span in spans if not span.get("parentSpanId")) == [f"/n{n}" for n in range(8)]
    assert len(spans) == 8 * len(WHOLE)


def test_what_ended_before_sigterm_is_kept(run):
    """A program that is told to stop ends by the signal, and what it had done is on disk."""
    process = run("ask(QUESTION)\nprint('ready', flush=True)\nimport time\ntime.sleep(60)", wait=False)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert tree(spans_in(run.home)) == WHOLE


def test_a_handler_of_the_host_is_its_own(run):
    """A program that handles SIGTERM itself, before or after us, is asked as ever."""
    process = run(
        """
        import signal, time
        ask(QUESTION)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        time.sleep(60)
        """,
        wait=False,
    )
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 7
    assert tree(spans_in(run.home)) == WHOLE


def test_an_open_command_is_ended_at_exit(run):
    """A program that dies between reply and tool call leaves a command that says so."""
    run(
        """
        client.chat.completions.create(
            model="test-model", messages=[{"role": "user", "content": QUESTION}], tools=SCHEMAS
        )
        """
    )
    spans = spans_in(run.home)
    assert tree(spans) == WHOLE[:2]
    assert spans[0]["said"]["perfopt.command.outcome"] == "interrupted"


def test_the_hosts_own_tracer_provider_is_respected(run):
    """A program that sets its provider after us has its spans, and ours, in its own exporters and in our files."""
    out = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        if os.environ.get("LATE"):
            ask(QUESTION)
        theirs = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(theirs))
        trace.set_tracer_provider(provider)
        assert trace.get_tracer_provider() is provider
        with trace.get_tracer("host").start_as_current_span("host"):
            ask(QUESTION)
        print(json.dumps([span.name for span in theirs.get_finished_spans()]))
        """
    )
    names = ["execute_tool lookup", "execute_tool store"]
    theirs = json.loads(out)
    assert [name for name in theirs if "tool" in name] == names
    assert theirs[-2:] == ["/query", "host"]
    ours = spans_in(run.home)
    times = 2 if os.environ.get("LATE") else 1
    assert [span["name"] for span in ours if "tool" in span["name"]] == names * times
    assert tree(ours).count(("/query", "host")) == 1


def test_a_provider_set_after_the_first_model_call_takes_over(run, monkeypatch):
    """Even then the host's provider is the global one from that moment, without a warning."""
    monkeypatch.setenv("LATE", "1")
    test_the_hosts_own_tracer_provider_is_respected(run)


def test_an_unwritable_home_leaves_the_agent_as_it_is(run, tmp_path):
    """Where telemetry cannot be kept, the answer is the same."""
    (tmp_path / "home").write_text("a file, not a folder")
    process = run("print(ask(QUESTION))", wait=False)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "answer 4\n")


def test_a_corrupt_snapshot_leaves_the_agent_as_it_is(run, tmp_path):
    """A snapshot that is no snapshot changes nothing."""
    (tmp_path / "home").mkdir()
    for name in ("snapshot.json", "snapshot"):
        (tmp_path / "home" / name).write_text('{"version": 1, "decisions": [{')
    process = run("print(ask(QUESTION))", wait=False)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "answer 4\n")
    assert tree(spans_in(run.home)) == WHOLE


def test_a_shadowed_sitecustomize_still_runs(tmp_path, model_url):
    """Ours stands before another; the other runs all the same, and is the one that can be imported."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.shadowed = True\n")
    env = run_environment({**os.environ, "PYTHONPATH": str(tmp_path)}, tmp_path / "home")
    code = "import sys, sitecustomize; print(sys.shadowed, sitecustomize.__file__)"
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout == f"True {tmp_path / 'sitecustomize.py'}\n"
    assert out.stderr == ""
    assert not (tmp_path / "home").exists()


def test_a_program_without_an_agent_pays_little(tmp_path):
    """Neither the SDK nor the act room is loaded before there is anything to record."""
    env = run_environment({**os.environ, "PYTHONPATH": ""}, tmp_path / "home", tools=["nowhere:*"])
    code = "import sys; print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'otel_perfopt.act.'))])"
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_the_environment_of_a_run():
    """What is named before is kept, ours comes first on the path once, and names are not repeated."""
    base = {"PYTHONPATH": os.pathsep.join(["/a", str(FOLDER)]), "PERFOPT_TOOLS": "a:x, b:y"}
    env = run_environment(base, Path("/home/p"), tools=["b:y", "c:z"], commands=["m:f=/q"], service_name="shop")
    assert env["PYTHONPATH"].split(os.pathsep) == [str(FOLDER), "/a"]
    assert env["PERFOPT_TOOLS"] == "a:x,b:y,c:z"
    assert env["PERFOPT_COMMANDS"] == "m:f=/q"
    assert env["PERFOPT_HOME"] == "/home/p"
    assert env["OTEL_SERVICE_NAME"] == "shop"
    assert "PERFOPT_EFFECTS" not in env
    assert run_environment(env, Path("/home/p")) == env


def test_under_opentelemetry_instrument(tmp_path, model_url):
    """The entry point is enough: the vendor's set-up exports our spans with its own exporter."""
    script = tmp_path / "agent.py"
    script.write_text(AGENT + "print(ask(QUESTION))\n")
    env = {
        **os.environ,
        "MODEL_URL": model_url,
        "PYTHONPATH": "",
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "PERFOPT_HOME": str(tmp_path / "home"),
    }
    command = Path(sys.executable).parent / "opentelemetry-instrument"
    if not command.exists():
        pytest.skip("opentelemetry-instrument is not installed")
    done = subprocess.run(
        [command, sys.executable, script], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("/query", "chat test-model", "execute_tool lookup", "execute_tool store"):
        assert f'"name": "{name}"' in done.stdout
    assert "answer 4" in done.stdout
    assert not (tmp_path / "home" / "telemetry").exists()
