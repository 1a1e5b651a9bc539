"""`gc_tuning`, `resource_pool` and `warm_up`: what each does, and that its end leaves everything as it was."""

from __future__ import annotations

import gc
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import certifi
import httpx
import httpx2
import pytest
from governed import EVERYBODY, Agent, decision, snapshot

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.gc_tuning import GcTuning, trim
from otel_perfopt.act.parameters.table import OPTIMIZATIONS
from otel_perfopt.act.resource_pool import ResourcePool
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.act.warm_up import WarmUp
from otel_perfopt.decide.decision import Decision
from otel_perfopt.signal.calls import RunContext, ToolCall


def use_of_type(optimization: str, *, shadow: bool = False, **parameters: Any) -> Use:
    rule = Plan.of(snapshot(decision(optimization, parameters=parameters, unit="process"))).process_rules[0]
    return Use(rule, shadow)


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_the_collector_is_set_and_set_back_exactly() -> None:
    """Thresholds and frozen objects are as before; beginning and ending twice changes nothing more."""
    before = gc.get_threshold()
    tuning = GcTuning()
    for _ in range(2):
        tuning.begin(use_of_type("gc_tuning", threshold=12_345, collect_idle=False))
    tuning.tick(0.0)
    assert gc.get_threshold() == (12_345, *before[1:])
    assert gc.get_freeze_count() == 0, "a command is open and the start was a moment ago"
    tuning.tick(0.5)
    assert gc.get_freeze_count() > 1000
    assert tuning.facts()["frozen"] == gc.get_freeze_count()
    for _ in range(2):
        tuning.end()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("collector")
def test_what_the_host_changed_since_stays() -> None:
    """A threshold the host sets afterwards, and objects it freezes, are not touched by the end."""
    tuning = GcTuning()
    tuning.begin(use_of_type("gc_tuning", collect_idle=False))
    tuning.tick(0.5)
    gc.set_threshold(777)
    kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    gc.freeze()
    frozen = gc.get_freeze_count()
    tuning.end()
    assert gc.get_threshold()[0] == 777
    assert gc.get_freeze_count() >= frozen - 10
    assert kept


@pytest.mark.usefixtures("collector")
def test_a_host_with_a_collector_of_its_own_is_left_alone() -> None:
    """Switched off it stays as it is, and what the host has frozen before stays frozen."""
    gc.disable()
    before = gc.get_threshold()
    tuning = GcTuning()
    tuning.begin(use_of_type("gc_tuning"))
    tuning.tick(5.0)
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == (before, False, 0)
    gc.enable()
    gc.freeze()
    frozen = gc.get_freeze_count()
    tuning.begin(use_of_type("gc_tuning", collect_idle=False))
    tuning.tick(5.0)
    tuning.end()
    assert gc.get_freeze_count() >= frozen - 10


class Node:
    """Something that only the collector frees."""

    alive = 0

    def __init__(self) -> None:
        self.me = self
        Node.alive += 1

    def __del__(self) -> None:
        Node.alive -= 1


@pytest.mark.usefixtures("collector")
def test_garbage_is_collected_between_commands() -> None:
    """Cycles wait while a command is open, are freed in the next quiet moment, and once a moment."""
    tuning = GcTuning()
    tuning.begin(use_of_type("gc_tuning", threshold=1_000_000, idle_s=0.5))
    tuning.tick(5.0)
    for _ in range(100):
        Node()
    tuning.tick(0.0)
    assert Node.alive == 100
    tuning.tick(0.1)
    assert Node.alive == 100
    tuning.tick(0.6)
    assert Node.alive == 0
    tuning.tick(1.0)
    tuning.tick(2.0)
    assert tuning.facts()["collections"] == 1
    tuning.end()


def test_shadow_leaves_the_collector_alone() -> None:
    """In shadow nothing is set."""
    before = gc.get_threshold()
    tuning = GcTuning()
    tuning.begin(use_of_type("gc_tuning", shadow=True))
    tuning.tick(5.0)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_freed_memory_goes_back_where_the_library_can() -> None:
    """Trimming works on this system's C library, or says that it does not."""
    assert trim() is (sys.platform.startswith("linux") and "musl" not in os.confstr("CS_GNU_LIBC_VERSION"))


def context_of(client: Any) -> Any:
    return client._transport._pool._ssl_context


@pytest.fixture
def pool() -> Iterator[ResourcePool]:
    pooled = ResourcePool()
    yield pooled
    pooled.end()


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_clients_with_default_settings_share_their_certificates(pool: ResourcePool, library: ModuleType) -> None:
    """Synchronous and asynchronous ones, and nothing else of them; afterwards each reads its own again."""
    plain = [library.HTTPTransport.__init__, library.AsyncHTTPTransport.__init__]
    pool.begin(use_of_type("resource_pool"))
    one, two, three = library.Client(), library.Client(), library.AsyncClient()
    assert context_of(one) is context_of(two) is context_of(three)
    assert one._transport._pool is not two._transport._pool
    assert context_of(one).verify_mode is ssl.CERT_REQUIRED
    assert context_of(one).check_hostname
    assert pool.facts()["shared"] == 2
    pool.end()
    assert [library.HTTPTransport.__init__, library.AsyncHTTPTransport.__init__] == plain
    assert context_of(library.Client()) is not context_of(one)


def test_clients_with_settings_of_their_own_share_nothing(
    pool: ResourcePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Neither a context given, nor none wanted, nor HTTP/2, nor certificates that the environment names since."""
    pool.begin(use_of_type("resource_pool"))
    common = context_of(httpx.Client())
    own = ssl.create_default_context()
    assert context_of(httpx.Client(verify=own)) is own
    assert context_of(httpx.Client(verify=False)).verify_mode is ssl.CERT_NONE
    assert context_of(httpx.Client(transport=httpx.HTTPTransport(http2=True))) is not common
    assert context_of(httpx.Client(trust_env=False)) is not common
    certificates = tmp_path / "certificates.pem"
    certificates.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    assert context_of(httpx.Client()) is not common


def test_certificates_are_read_again_after_a_while_and_in_shadow(pool: ResourcePool) -> None:
    """Past the age that the policy allows, and where it only watches."""
    pool.begin(use_of_type("resource_pool", max_age_s=0.01))
    first = context_of(httpx.Client())
    time.sleep(0.02)
    assert context_of(httpx.Client()) is not first
    pool.end()
    pool.begin(use_of_type("resource_pool", shadow=True))
    assert context_of(httpx.Client()) is not context_of(httpx.Client())


def test_many_threads_make_clients(pool: ResourcePool) -> None:
    """All share in the end and none fails."""
    pool.begin(use_of_type("resource_pool"))
    httpx.Client()
    found: set[int] = set()
    threads = [threading.Thread(target=lambda: found.add(id(context_of(httpx.Client())))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 1


made: list[str] = []


def load_index() -> None:
    made.append("index")


def broken_loader() -> None:
    raise SystemExit(1)


async def coroutine_loader() -> None:
    made.append("never")


def read_page(page: str) -> dict[str, str]:
    made.append(page)
    return {"page": page}


def write_page(page: str) -> None:
    made.append(f"wrote {page}")


async def read_async(page: str) -> None:
    made.append(f"async {page}")


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


CACHE = decision(parameters={"scope": "process"}, allocation=EVERYBODY)


def warming(*decisions: Decision, functions: Any = (read_page, write_page, read_async)) -> tuple[Runtime, WarmUp]:
    known = {function.__name__: ToolCall(function.__name__, function, (), {}) for function in functions}
    runtime = Runtime(FixedSource(snapshot(*decisions)), spans=CallSpans(template=known.get))
    return runtime, WarmUp(runtime._cache, runtime._source.current, runtime._adopt, CallSpans(template=known.get))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_what_a_policy_wants_ready_is_ready(new_run: Callable[..., RunContext]) -> None:
    """Loaders run, reads fill the cache that the agent's own calls are answered from, and use is counted."""
    runtime, warm = warming(CACHE)
    calls = [{"tool": "read_page", "arguments": {"page": page}} for page in ("a", "b", "c")]
    loaders = [f"{__name__}:load_index", f"{__name__}:broken_loader", f"{__name__}:coroutine_loader", "absent:it"]
    warm.begin(use_of_type("warm_up", loaders=loaders, calls=calls))
    until(lambda: warm.facts().get("started") == 3)
    agent = Agent(runtime, new_run())
    assert agent.call(read_page, page="a") == {"page": "a"}
    assert agent.call(read_page, page="a") == {"page": "a"}
    assert made == ["index", "a", "b", "c"]
    assert warm.facts()["claimed"] == 1
    warm.end()
    warm.end()
    assert warm.facts() == {"loaded": 1, "errors": 3, "started": 3, "not_made": 0, "claimed": 1, "wasted": 2}
    runtime.close()


def test_a_write_makes_warm_results_unusable(new_run: Callable[..., RunContext]) -> None:
    """What was read ahead is read again once something may have changed it."""
    runtime, warm = warming(CACHE)
    warm.begin(use_of_type("warm_up", calls=[{"tool": "read_page", "arguments": {"page": "a"}}]))
    until(lambda: warm.facts().get("started") == 1)
    agent = Agent(runtime, new_run())
    agent.call(write_page, page="a")
    agent.call(read_page, page="a")
    assert made == ["a", "wrote a", "a"]
    warm.end()
    assert warm.facts()["wasted"] == 1
    runtime.close()


@pytest.mark.parametrize(
    "cache",
    [
        decision(parameters={"scope": "conversation"}),
        decision(parameters={"scope": "process"}, stage="shadow"),
        decision(parameters={"scope": "process"}, effects={}),
    ],
    ids=["a cache that is not shared", "a cache in shadow", "a tool that nobody declared"],
)
def test_reads_that_nobody_would_see_are_not_made(cache: Decision) -> None:
    """Without a cache for the whole process, of a tool that is surely read-only, there is nothing to fill."""
    runtime, warm = warming(cache)
    warm.begin(use_of_type("warm_up", calls=[{"tool": "read_page", "arguments": {"page": "a"}}], max_s=0.1))
    until(lambda: warm.facts().get("not_made") == 1)
    assert made == []
    warm.end()
    runtime.close()


def test_writes_and_coroutines_are_not_made() -> None:
    """Neither what may write, nor what belongs to the agent's event loop."""
    runtime, warm = warming(CACHE)
    calls = [{"tool": name, "arguments": {"page": "a"}} for name in ("write_page", "read_async", "unknown")]
    warm.begin(use_of_type("warm_up", calls=calls, max_s=0.2))
    until(lambda: warm.facts().get("not_made") == 2)
    assert made == []
    assert warm.facts()["refused"] == 1
    warm.end()
    runtime.close()


def test_standing_down_stops_it_and_shadow_does_nothing() -> None:
    """After the end nothing more is begun; in shadow what there would be to do is counted."""
    runtime, warm = warming(CACHE)
    slow = [{"tool": "read_page", "arguments": {"page": str(number)}} for number in range(50)]
    warm.begin(use_of_type("warm_up", shadow=True, calls=slow))
    assert warm.facts()["foreseen"] == 50
    warm.end()
    work = use_of_type("warm_up", calls=[{"tool": "later", "arguments": {}}], max_s=30.0)
    warm.begin(work)
    warm.end()
    until(lambda: not any(thread.name == "perfopt-warm-up" for thread in threading.enumerate()))
    assert made == []
    runtime.close()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("lazy_import", {}),
        ("lazy_import", {"modules": 3}),
        ("gc_tuning", {"threshold": -1}),
        ("gc_tuning", {"freeze": "yes"}),
        ("resource_pool", {"max_age_s": 0}),
        ("warm_up", {}),
        ("warm_up", {"loaders": ["nothing"]}),
        ("warm_up", {"calls": [{"arguments": {}}]}),
        ("warm_up", {"calls": [{"tool": "t"}] * 201}),
        ("warm_up", {"loaders": ["a:b"], "other": 1}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name: str, wrong: dict[str, object]) -> None:
    """A decision that cannot be read is no decision."""
    with pytest.raises(ValueError, match=r":|unknown"):
        OPTIMIZATIONS[name].read(wrong)
