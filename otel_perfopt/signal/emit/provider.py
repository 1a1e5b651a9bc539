"""Where this package's spans go: the process's tracer provider and settings in, processors on it (or one set up) out."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit import implicit
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.interception import Interception, intercept
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor
from otel_perfopt.signal.emit.telemetry_file import FOLDER, RotatingStream, TelemetryFileExporter, in_thread
from otel_perfopt.signal.emit.tracing import finish_with, use_provider

FLUSH_LIMIT_S = 3.0
EXPORT_EVERY_MS = 1000
QUEUE_SPANS = 8192


class TelemetryPipeline:
    """The processors of this package on a tracer provider.

    A provider that the host has is used as it is. Without one, and with `write_telemetry`, our spans go
    to a provider of our own; it becomes the global one at the first model call if there still is
    none, and gives way when the host sets its own later.
    """

    def __init__(self, settings: AgentSettings, provider: Any = None) -> None:
        self._settings = settings
        self._given = provider
        self._own: TracerProvider | None = None
        self._attached: list[tuple[Any, SpanProcessor]] = []
        self._setting: Interception | None = None
        self._previous: Any = None
        self._handler: Callable[[int, FrameType | None], None] | None = None
        self.finisher = Finisher()
        self.processor = PerfoptSpanProcessor(self.finisher)
        self.exporter: TelemetryFileExporter | None = None

    def start(self) -> None:
        """Put the processors on the provider there is, or set one up."""
        provider = self._given or _host_provider()
        if provider is not None:
            self._attach(provider)
            use_provider(self._given)
        elif self._settings.write_telemetry:
            self._own = TracerProvider(resource=Resource.create(_service(self._settings)))
            self._attach(self._own)
            use_provider(self._own)
        finish_with(self.finisher)
        if self._given is None:
            self._setting = intercept(trace.set_tracer_provider, self._host_sets)  # type: ignore[arg-type]
        self._exit_last()
        _at_multiprocessing_exit(self.flush)
        self._listen()

    @property
    def unkept(self) -> int:
        """Spans that could not be written to the telemetry files, as on a full disk."""
        return self.exporter.dropped if self.exporter is not None else 0

    @property
    def resource(self) -> Resource:
        """What the spans are said to come from."""
        provider = self._attached[0][0] if self._attached else None
        resource = getattr(provider, "resource", None)
        return resource if isinstance(resource, Resource) else Resource.create(_service(self._settings))

    def settle(self) -> None:
        """Make our provider the global one where the host has had its chance and set none."""
        if self._own is None and self._given is None and not self._attached:
            provider = _host_provider()
            if provider is not None:
                self._attach(provider)
        elif self._own is not None and _host_provider() is None:
            own = self._own
            trace.set_tracer_provider(own)

    def flush(self) -> None:
        """Export what has ended, in bounded time; never raises."""
        for _, processor in self._attached:
            _flush(processor)

    def stop(self) -> None:
        """Flush, and take the processors off again."""
        atexit.unregister(self._at_exit)
        self._stop_listening()
        if self._setting is not None:
            self._setting.undo()
        self._at_exit()
        finish_with(None)
        self.finisher.stop(FLUSH_LIMIT_S)
        self.processor.active = False
        for provider, processor in self._attached:
            _remove(provider, processor)
            if processor is not self.processor:
                processor.shutdown()
        self._attached.clear()
        use_provider(None)

    def _attach(self, provider: Any) -> None:
        self._put_first(provider)
        if self._settings.write_telemetry:
            folder = self._settings.home / FOLDER
            stream = RotatingStream(
                folder.absolute(),
                str(_resource(provider).get(SERVICE_NAME, "")),
                self._settings.telemetry_file_bytes,
                self._settings.telemetry_total_bytes,
            )
            self.exporter = TelemetryFileExporter(stream)
            batches = BatchSpanProcessor(
                self.exporter, max_queue_size=QUEUE_SPANS, schedule_delay_millis=EXPORT_EVERY_MS
            )
            self._put_on(provider, batches)

    def _put_on(self, provider: Any, processor: SpanProcessor) -> None:
        provider.add_span_processor(processor)
        self._attached.append((provider, processor))

    def _put_first(self, provider: Any) -> None:
        """Put our processor before those that export: what it still has to end reaches them before they flush."""
        self._put_on(provider, self.processor)
        several, kept = _processors(provider)
        if kept:
            several._span_processors = (self.processor, *(item for item in kept if item is not self.processor))  # noqa: SLF001
            self.processor.stands_beside(several)

    def _exit_last(self) -> None:
        """Have our work at exit done before that of any provider there is now: exit handlers run newest first."""
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)

    def _host_sets(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stand around `trace.set_tracer_provider`: the host's own provider takes the place of ours."""
        provider = args[0] if args else kwargs.get("tracer_provider")
        if provider is self._own:
            return function(*args, **kwargs)
        try:
            if self._own is not None and trace.get_tracer_provider() is self._own:
                trace._TRACER_PROVIDER = None  # noqa: SLF001 - only what we set ourselves is taken back
                trace._TRACER_PROVIDER_SET_ONCE._done = False  # noqa: SLF001 - the same
        except Exception as error:
            fault("tracer provider", error)
        result = function(*args, **kwargs)
        self._give_way()
        return result

    def _give_way(self) -> None:
        try:
            provider = _host_provider()
            if provider is None or provider is self._own or any(on is provider for on, _ in self._attached):
                return
            moved = [processor for on, processor in self._attached if on is self._own]
            if not moved:
                self._attach(provider)
            for processor in moved:
                if processor is self.processor:
                    self._put_first(provider)
                else:
                    self._put_on(provider, processor)
            self._exit_last()
            use_provider(None)
        except Exception as error:
            fault("tracer provider", error)

    def _at_exit(self) -> None:
        try:
            implicit.commands().close_all()
        except Exception as error:
            fault("exit", error)
        self.flush()

    def _listen(self) -> None:
        """Flush on SIGTERM where nobody else handles it; the process ends by it all the same."""
        try:
            if threading.current_thread() is threading.main_thread() and (
                signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            ):
                self._handler = self._terminated
                signal.signal(signal.SIGTERM, self._handler)
        except (ValueError, OSError) as error:
            fault("signal", error)

    def _terminated(self, number: int, _frame: FrameType | None) -> None:
        in_thread(self._at_exit, FLUSH_LIMIT_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _stop_listening(self) -> None:
        try:
            if self._handler is not None and signal.getsignal(signal.SIGTERM) == self._handler:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except (ValueError, OSError) as error:
            fault("signal", error)


def _flush(processor: SpanProcessor) -> None:
    try:
        processor.force_flush(int(FLUSH_LIMIT_S * 1000))
    except Exception as error:
        fault("telemetry flush", error)


def _host_provider() -> Any:
    """Return the global provider where it is one that takes processors, else None."""
    provider = trace.get_tracer_provider()
    return provider if hasattr(provider, "add_span_processor") else None


def _resource(provider: Any) -> Any:
    return getattr(getattr(provider, "resource", None), "attributes", None) or {}


def _service(settings: AgentSettings) -> dict[str, str]:
    """Return the service's name: what the environment says, else the script's."""
    if settings.service_name or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        return {}
    return {SERVICE_NAME: implicit.command_name(())}


def _remove(provider: Any, processor: SpanProcessor) -> None:
    """Take a processor off a provider; the SDK has no call for it, so where it keeps them otherwise it stays, inactive."""
    several, kept = _processors(provider)
    if kept:
        several._span_processors = tuple(item for item in kept if item is not processor)  # noqa: SLF001


def _processors(provider: Any) -> tuple[Any, tuple[SpanProcessor, ...]]:
    """Return what holds a provider's processors, and them; none where the SDK keeps them otherwise."""
    several = getattr(provider, "_active_span_processor", None)
    kept = getattr(several, "_span_processors", None)
    return several, kept if isinstance(kept, tuple) else ()


def _at_multiprocessing_exit(flush: Callable[[], None]) -> None:
    """Have worker processes of `multiprocessing` flush as they end: they leave without running `atexit`."""

    def hook(module: Any) -> None:
        try:
            module.register_after_fork(flush, lambda _: module.Finalize(None, flush, exitpriority=100))
        except Exception as error:
            fault("multiprocessing", error)

    loaded = sys.modules.get("multiprocessing.util")
    if loaded is not None:
        hook(loaded)
        return
    import wrapt  # noqa: PLC0415 - only where there is something to wait for

    wrapt.register_post_import_hook(hook, "multiprocessing.util")
