"""The few exceptions of the package: what failed in, a message a person can act on out."""

from __future__ import annotations

from dataclasses import dataclass


class PerfoptError(Exception):
    """Base of every error this package raises on the controller side; the agent side raises none."""


class MissingExtraError(PerfoptError):
    """A command needs packages that an extra brings."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(f"this needs the package {module!r}; install it with: pip install 'otel-perfopt[{extra}]'")
        self.extra = extra
        self.module = module


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with an input file, where it stands and what to do about it."""

    path: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.path}:{self.line}:{self.column}: {field}{self.message}"


class InvalidFileError(PerfoptError):
    """A file a person wrote (policy, boundary, settings) cannot be used; carries every problem, not just the first."""

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class LedgerError(PerfoptError):
    """The ledger cannot be read, locked, extended or verified."""


class TransitionError(PerfoptError):
    """A life-cycle transition is not allowed from the present state or for this actor."""


class PublishError(PerfoptError):
    """The snapshot cannot be written; agents keep the last one until its lease ends, then run as baseline."""


class NoTelemetryError(PerfoptError):
    """There is nothing to read at the given place."""


class FanOutError(PerfoptError):
    """Work cannot be shared out: the backend is unknown or its package is not installed."""


class StoreError(PerfoptError):
    """A telemetry store cannot be opened, read or written."""


class StoreBusyError(StoreError):
    """Another process has the embedded store open; the message names it and the ways out."""
