"""Garbage collected between commands instead of during them: a policy's parameters in, the collector set and set back out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.gc_tuning import GcTuningParameters
from otel_perfopt.act.process_unit import THIS_PROCESS
from otel_perfopt.signal.emit.faults import fault

NAME: Final = "gc_tuning"
# Looking at everything takes its time, so not after every command of a busy moment.
LEAST_BETWEEN_S: Final = 10.0
# A program that is one long command is never quiet: then what is there is set aside as it is.
FREEZE_WITHIN_S: Final = 5.0

_Thresholds = tuple[int, int, int]


class GcTuning:
    """Sets how often the collector looks, takes what the start left out of its sight, and collects between commands.

    A host that has switched the collector off, or has objects frozen of its own, is left as it is. What the
    host changes afterwards stays at the end; everything else is as it was. Collecting in quiet
    moments runs finalizers on the thread that does it, as any thread may that allocates.
    """

    name = NAME

    def __init__(self) -> None:
        self._parameters: GcTuningParameters | None = None
        self._before: _Thresholds | None = None
        self._set: _Thresholds | None = None
        self._froze = 0
        self._froze_busy = False
        self._began_s = self._collected_s = self._quiet_s = 0.0
        self._due = False
        self.counts: Counter[str] = Counter()
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(before=lambda: _before_fork(here))

    def begin(self, use: Use) -> None:
        """Set the collector's thresholds; the rest waits for a quiet moment."""
        parameters = use.rule.parameters
        assert isinstance(parameters, GcTuningParameters)
        if self._parameters is not None or use.shadow or not gc.isenabled():
            return
        self._parameters = parameters
        self._began_s, self._collected_s = time.monotonic(), -LEAST_BETWEEN_S
        self._quiet_s, self._due = 0.0, False
        if parameters.threshold:
            self._before = gc.get_threshold()
            gc.set_threshold(parameters.threshold, *self._before[1:])
            self._set = gc.get_threshold()

    def end(self) -> None:
        """Set everything back, except what the host has changed since."""
        self._parameters = None
        before, self._before = self._before, None
        if before is not None and gc.get_threshold() == self._set:
            gc.set_threshold(*before)
        froze, self._froze = self._froze, 0
        # More than this froze: the host has frozen objects too, and those are not ours to thaw.
        if froze and 0 < gc.get_freeze_count() <= froze:
            gc.unfreeze()

    def tick(self, quiet_s: float) -> None:
        """Set aside what the start left, once, and collect in a quiet moment after commands."""
        parameters = self._parameters
        if parameters is None:
            return
        if quiet_s < self._quiet_s or quiet_s == 0.0:
            self._due = True  # a command ran since
        self._quiet_s = quiet_s
        if parameters.freeze:
            self._freeze(quiet_s > 0.0)
        now_s = time.monotonic()
        if parameters.collect_idle and self._due and quiet_s >= parameters.idle_s:
            if now_s - self._collected_s < LEAST_BETWEEN_S or not gc.isenabled():
                return
            self._due, self._collected_s = False, now_s
            self.counts["collected"] += gc.collect()
            self.counts["collections"] += 1
            if parameters.trim:
                trim()

    def facts(self) -> Mapping[str, int]:
        """Return how many collections there were between commands, what they freed, and how many objects are set aside."""
        return {**self.counts, "frozen": self._froze}

    def before_fork(self) -> None:
        """Set aside what is there, so that no child's collector writes to the pages that it shares with its parent.

        Children share their parent's lot from here on: what was done to their memory cannot be undone. A parent
        that forks again and again (with a collection of its own between) sets aside what came since.
        """
        if self._parameters is None or not self._parameters.freeze or gc.get_freeze_count() > self._froze:
            return
        THIS_PROCESS.pin()
        gc.freeze()
        self._froze = gc.get_freeze_count()

    def after_fork(self) -> None:
        """Nothing to leave behind: the child's collector is set as its parent's."""

    def _freeze(self, quiet: bool) -> None:
        if self._froze and not (self._froze_busy and quiet):
            return
        if not self._froze and gc.get_freeze_count():
            return  # the host's own
        if quiet:
            if self._froze:
                gc.unfreeze()
            gc.collect()
        elif time.monotonic() - self._began_s < FREEZE_WITHIN_S:
            return
        gc.freeze()
        self._froze, self._froze_busy = gc.get_freeze_count(), not quiet


def _before_fork(here: weakref.ref[GcTuning]) -> None:
    tuning = here()
    if tuning is not None:
        try:
            tuning.before_fork()
        except Exception as error:
            fault("act gc_tuning", error)


def trim() -> bool:
    """Give memory that is free to the system; False where the C library does not know how (only glibc does)."""
    library = _library()
    if library is None:
        return False
    library.malloc_trim(0)
    return True


def _library() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
    except OSError:
        return None
    return library if hasattr(library, "malloc_trim") else None
