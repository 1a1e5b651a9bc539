"""The wiring of the agent side: settings in, an instrumented process out; everything can be undone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit import (
    captured_content,
    discovery,
    implicit,
    inference_calls,
    model_calls,
    preference,
    runs,
    shorter_forms,
    tool_calls,
    tool_span,
    tools,
    tracing,
)
from otel_perfopt.signal.emit.command_span import around_command
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Interception, intercept
from otel_perfopt.signal.emit.module_loads import ModuleLoads, watch_loads
from otel_perfopt.signal.emit.taken_over import proxied, release_tool, take_tool
from otel_perfopt.signal.emit.targets import Target, Targets
from otel_perfopt.signal.emit.tool_calls import around_tool
from otel_perfopt.signal.emit.trampoline import kind_of
from otel_perfopt.signal.frameworks.framework_tool import release_framework_tools
from otel_perfopt.signal.frameworks.integrations import INTEGRATIONS, Integration

if TYPE_CHECKING:
    from otel_perfopt.measure.metering import Metering
    from otel_perfopt.signal.emit.provider import TelemetryPipeline

_MOST_SNAPSHOT_BYTES = 4 << 20
_FIELDS = {field.name for field in dataclasses.fields(AgentSettings)}


class PerfoptInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the base has no types
    """`instrument()` once, `uninstrument()` takes everything back; neither raises.

    Options are the fields of `AgentSettings` (`home`, `tools`, `commands`, `effects`, …), which win over
    the environment; `settings` replaces both. `tracer_provider` and `meter_provider` are used instead of
    the global ones.
    With `lazy`, providers and threads are set up at the first span and not before.
    """

    _undo: list[Callable[[], object]]
    _loads: ModuleLoads | None = None
    _metering: Metering | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: it works beside any library, and imports none for its sake."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        self._undo = []
        try:
            settings = _settings(kwargs)
            if settings.enabled:
                providers = kwargs.get("tracer_provider"), kwargs.get("meter_provider")
                self._set_up(settings, *providers, lazy=bool(kwargs.get("lazy")))
        except Exception as error:
            fault("instrument", error)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        undo, self._undo = getattr(self, "_undo", []), []
        for step in reversed(undo):
            _attempt(step)

    def _set_up(self, settings: AgentSettings, provider: Any, meter_provider: Any, *, lazy: bool) -> None:
        self._begin_early(settings)
        tool_span.capture_content(settings.capture_content)
        captured_content.redact_by(settings.redact)
        tools.declare_effects(settings.effects)
        preference.prefer_in_process(settings.preference)
        self._undo.append(lambda: preference.prefer_in_process(""))
        implicit.use(implicit.ImplicitCommands(settings.idle_s))
        self._undo.append(implicit.commands().close_all)
        self._undo.append(model_calls.forget_conversations)
        if settings.module_loads:
            self._watch_loads(lazy=lazy)
        self._undo.append(release_framework_tools)
        self._start_integrations()
        self._start_targets(settings.commands, self._take_command)
        self._start_targets(settings.tools, self._take_tool)
        if settings.discover_tools:
            discovery.discover(self._taken)
        self._undo.append(discovery.stop)
        prepare = _once(lambda: self._activate(settings, provider, meter_provider))
        if lazy:
            tracing.on_first_use(prepare)
            self._undo.append(lambda: tracing.on_first_use(None))
        else:
            prepare()

    def _watch_loads(self, *, lazy: bool) -> None:
        from otel_perfopt.act.import_watch import ImportWatch  # noqa: PLC0415 - only where imports are measured
        from otel_perfopt.signal.emit.module_start import ModuleStart  # noqa: PLC0415 - the same

        watch = ImportWatch()
        # Only an interpreter that began with us has a start that is known from its beginning.
        self._loads = loads = ModuleLoads(watch=watch, start=ModuleStart() if lazy else None)
        self._undo.append(watch.stop)
        self._undo.append(watch_loads(loads))
        runs.on_first_run(loads.started)
        self._undo.append(lambda: runs.on_first_run(None))

    def after_fork(self) -> None:
        """Leave the parent's start to the parent; called in the child."""
        if self._loads is not None:
            self._loads.after_fork()

    def _begin_early(self, settings: AgentSettings) -> None:
        """Put in place what must be there before the agent's own imports, where a snapshot on this machine asks for it."""
        try:
            if not settings.killed and _speaks_of_start(settings.home):
                from otel_perfopt.act import process_start  # noqa: PLC0415 - only where a decision asks for it

                self._undo.append(process_start.begin_early(settings))
        except Exception as error:
            fault("early", error)

    def _activate(self, settings: AgentSettings, provider: Any, meter_provider: Any) -> None:
        """Set up what costs something: the SDK's processors and the runtime that follows the snapshot."""
        try:
            from otel_perfopt.signal.emit.provider import TelemetryPipeline  # noqa: PLC0415 - the SDK comes with it

            pipeline = TelemetryPipeline(settings, provider)
            self._undo.append(self._stop_metering)
            self._undo.append(pipeline.stop)
            pipeline.start()
            discovery.before_discovery(pipeline.settle)
            if settings.metrics:
                self._start_metering(settings, pipeline, meter_provider)
        except Exception as error:
            fault("telemetry", error)
        try:
            from otel_perfopt.act import runtime  # noqa: PLC0415 - a fault in it must leave plain calls

            interceptor = runtime.install(settings)
            self._undo.append(interceptor.close)
            self._ask_for_shorter_forms()
            tool_calls.set_interceptor(interceptor)
            self._undo.append(lambda: tool_calls.set_interceptor(None))
            runs.set_run_listener(interceptor)
            self._undo.append(lambda: runs.set_run_listener(None))
            inference_calls.set_inference_interceptor(interceptor.inference)
            self._undo.append(lambda: inference_calls.set_inference_interceptor(None))
        except Exception as error:
            fault("runtime", error)

    def _ask_for_shorter_forms(self) -> None:
        """Have spans say by how much optimizations could shorten what is sent, so that it can be foretold."""
        from otel_perfopt.act.context_compression import table_saving  # noqa: PLC0415 - with the runtime, not before
        from otel_perfopt.act.prompt_tidy import repeated_chars  # noqa: PLC0415 - as above

        shorter_forms.shorten_with(repeated_chars, table_saving)
        self._undo.append(lambda: shorter_forms.shorten_with(None, None))

    def _start_metering(self, settings: AgentSettings, pipeline: TelemetryPipeline, provider: Any) -> None:
        try:
            from otel_perfopt.measure.metering import Metering  # noqa: PLC0415 - a fault in it must leave the spans

            unkept = lambda: pipeline.unkept  # noqa: E731 - asked whenever metrics are read
            self._metering = Metering(settings, pipeline.finisher, pipeline.resource, provider, unkept)
            self._metering.start()
        except Exception as error:
            fault("metrics", error)

    def _stop_metering(self) -> None:
        metering, self._metering = self._metering, None
        if metering is not None:
            metering.stop()

    def _start_integrations(self) -> None:
        import wrapt  # noqa: PLC0415 - post-import hooks

        undo = self._undo  # a later `instrument` has another list, and hooks of its own

        def hook(integration: Integration) -> Callable[[object], None]:
            def imported(module: object) -> None:
                try:
                    if self._undo is undo:
                        # This process is an agent's: set up now, on the thread that imports, before calls
                        # come from many.
                        tracing.prepare_now()
                        self._undo.extend(interception.undo for interception in integration.instrument(module))
                except Exception as error:
                    fault(integration.name, error)

            return imported

        for integration in INTEGRATIONS:
            for name in integration.modules:
                wrapt.register_post_import_hook(hook(integration), name)

    def _start_targets(self, names: tuple[str, ...], take: Callable[[Target], None]) -> None:
        if names:
            targets = Targets(names, take)
            self._undo.append(targets.stop)
            targets.start()
            discovery.before_discovery(targets.resolve)

    def _take_command(self, target: Target) -> None:
        function = target.plain_function()
        if function is not None:
            interception = intercept(function, around_command(kind_of(function), target.name.alias))
            if interception is not None:
                self._undo.append(interception.undo)
                return
        self._replace(target, around_command(kind_of(target.value), target.name.alias))

    def _take_tool(self, target: Target) -> None:
        function, name = target.plain_function(), target.name.alias or target.attribute
        if function is not None:
            interception = take_tool(function, name)
            if interception is not None:
                self._taken(interception)
            return
        tool = tools.register(tools.describe(name, target.value))
        self._undo.append(lambda: tools.forget(tool))
        self._replace(target, around_tool(tool, kind_of(target.value)))

    def _taken(self, interception: Interception) -> None:
        def undo() -> None:
            interception.undo()
            release_tool(interception.function())

        self._undo.append(undo)

    def _replace(self, target: Target, around: Any) -> None:
        """Put a proxy where a callable that is no plain function hangs; references made before keep the old one."""
        if not callable(target.value):
            return
        setattr(target.owner, target.attribute, proxied(target.value, around))
        self._undo.append(lambda: setattr(target.owner, target.attribute, target.value))


def _after_fork() -> None:
    try:
        model_calls.after_fork()
        PerfoptInstrumentor().after_fork()
    except Exception as error:
        fault("fork", error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def instrument(**options: Any) -> bool:
    """Watch, and where a snapshot says so optimize, the agent in this process; True when it is on. Never raises.

    Options as for `PerfoptInstrumentor`. Calling it again changes nothing.
    """
    try:
        instrumentor = PerfoptInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(**options)
        return bool(instrumentor.is_instrumented_by_opentelemetry)
    except Exception as error:
        fault("instrument", error)
        return False


def uninstrument() -> None:
    """Take everything back that `instrument` did; never raises."""
    try:
        instrumentor = PerfoptInstrumentor()
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    except Exception as error:
        fault("uninstrument", error)


def _settings(options: dict[str, Any]) -> AgentSettings:
    settings = options.get("settings") or AgentSettings.from_environment()
    changes = {name: value for name, value in options.items() if name in _FIELDS}
    for name in ("tools", "commands", "effects"):
        if name in changes:
            changes[name] = (changes[name],) if isinstance(changes[name], str) else tuple(changes[name])
    for name in ("home", "prices"):
        if changes.get(name):
            changes[name] = Path(changes[name])
    return dataclasses.replace(settings, **changes)


def _speaks_of_start(home: Path) -> bool:
    """Tell whether the snapshot on this machine, as it is now, names an optimization that begins with the process."""
    try:
        with (home / "snapshot.json").open("rb") as file:
            said = file.read(_MOST_SNAPSHOT_BYTES)
            return b'"lazy_import"' in said or b'"gc_tuning"' in said
    except OSError:
        return False


def _attempt(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        fault("uninstrument", error)


def _once(work: Callable[[], None]) -> Callable[[], None]:
    done: list[bool] = []

    def run() -> None:
        if not done:
            done.append(True)
            work()

    return run
