"""Every optimization of a whole process: what they need of a runtime in, one set of them ready to follow a snapshot out."""

from __future__ import annotations

from collections.abc import Callable

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.gc_tuning import GcTuning
from otel_perfopt.act.lazy_import import LazyImport
from otel_perfopt.act.process_runtime import ProcessRuntime
from otel_perfopt.act.process_start import take_early
from otel_perfopt.act.resource_pool import ResourcePool
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.snapshot_source import SnapshotSource
from otel_perfopt.act.tool_cache import ToolCache
from otel_perfopt.act.warm_up import WarmUp


def _adopt_nothing(plan: Plan) -> None:
    """Leave it to the calls to adopt the plan."""


def process_runtime(
    source: SnapshotSource,
    cache: ToolCache,
    clock: Clock,
    spans: CallSpans,
    adopt: Callable[[Plan], None] = _adopt_nothing,
) -> ProcessRuntime:
    """Return what follows `source` for the whole process; what was begun before it is taken over.

    `adopt` makes tool calls follow a plan from now on, so that what is kept for it stays usable.
    """
    early = take_early()
    fresh = (LazyImport(), GcTuning(), ResourcePool(), WarmUp(cache, source.current, adopt, spans))
    optimizations = [early[item.name][0] if item.name in early else item for item in fresh]
    runtime = ProcessRuntime(optimizations, begun={name: use for name, (_, use) in early.items()}, clock=clock)
    source.subscribe(runtime.follow)
    # What the first look found, it found before anybody listened: the first command is to be enrolled too.
    runtime.follow(source.current())
    return runtime
