"""What was learned, kept between runs: a home folder and its ledger in, `Learned` out; a file that is wrong is set aside."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.durable_file import write_atomically
from otel_perfopt.decide.learning import Learned
from otel_perfopt.decide.ledger_entry import FIRST_PREVIOUS, LedgerEntry
from otel_perfopt.decide.trial_outcome import Context, TrialOutcome, trial_outcomes

LEARNED_FILE = "learned.json"
_FORMAT, _VERSION = "perfopt.learned", 1
_MOST_BYTES = 64 << 20
_LOG = logging.getLogger(__name__)


class LearnedFile:
    """`learned.json` of a home folder.

    The ledger is the truth: the file spares reading it again, and other programs read it. Nothing here raises: what cannot be read is renamed to `learned.json.set-aside` and learned again, what
    cannot be written is told once and left.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / LEARNED_FILE
        self._head = ""
        self._learned: Learned | None = None
        self._complained = False
        self.faults = 0

    def learned(self, entries: Sequence[LedgerEntry], *, write: bool = True) -> Learned:
        """Return what the ledger's entries teach, as of its head."""
        head = entries[-1].hash if entries else FIRST_PREVIOUS
        if self._learned is not None and head == self._head:
            return self._learned
        kept = self._read(head) if self._learned is None else None
        self._learned, self._head = Learned(kept if kept is not None else trial_outcomes(entries)), head
        if kept is None and write:
            self._write(self._learned.outcomes)
        return self._learned

    def _read(self, head: str) -> tuple[TrialOutcome, ...] | None:
        try:
            with self._path.open("rb") as stream:
                raw = json.loads(stream.read(_MOST_BYTES))
            outcomes = _outcomes(raw)
            return outcomes if raw["head"] == head else None
        except FileNotFoundError:
            return None
        except Exception as error:
            # Whatever is wrong with it: the ledger knows everything that stood there.
            self._set_aside(error)
            return None

    def _set_aside(self, error: Exception) -> None:
        self.faults += 1
        with suppress(OSError):
            self._path.replace(self._path.with_name(f"{LEARNED_FILE}.set-aside"))
        _LOG.warning(
            "%s cannot be used (%s: %s); it is learned again from the ledger", self._path, type(error).__name__, error
        )

    def _write(self, outcomes: Sequence[TrialOutcome]) -> None:
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "head": self._head,
            "outcomes": [asdict(one) for one in outcomes],
        }
        try:
            write_atomically(self._path, json.dumps(document, allow_nan=False).encode("utf-8", "backslashreplace"))
            self._complained = False
        except (OSError, ValueError, TypeError) as error:
            self.faults += 1
            if not self._complained:
                _LOG.warning("%s cannot be written: %s", self._path, error)
            self._complained = True


def _outcomes(raw: Mapping[str, Any]) -> tuple[TrialOutcome, ...]:
    if (raw["format"], raw["version"]) != (_FORMAT, _VERSION):
        raise ValueError("it is of another version")
    return tuple(_outcome(item) for item in raw["outcomes"])


def _outcome(raw: Mapping[str, Any]) -> TrialOutcome:
    values = dict(raw)
    if set(values) != {field.name for field in fields(TrialOutcome)}:
        raise ValueError("an outcome lacks a field")
    for name in ("policy", "digest", "optimization", "end", "reason", "metric"):
        if not isinstance(values[name], str):
            raise TypeError(f"{name} is no text")
    for name in ("predicted", "realised"):
        values[name] = None if values[name] is None else _interval(values[name])
    return TrialOutcome(**{**values, "context": Context(**values["context"]), "time_ns": int(values["time_ns"])})


def _interval(raw: Mapping[str, Any]) -> Interval:
    return Interval(*(float(raw[name]) for name in ("estimate", "low", "high", "level")))
