"""A process forked while the engine runs in, a child that ends as other processes do out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress

_ENGINE = "chdb.state.sqlitelike"


def disarm_in_children() -> None:
    """See to it, once, that a forked child never waits for the engine's threads, which only its parent has.

    The child's copy of the engine is neither closed nor taken apart, by Python or by the C++ library:
    both would wait for ever. It cannot be asked either (`Connection` refuses).
    """
    if not _armed and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_disarm)
        _armed.append(True)


_armed: list[bool] = []


def _disarm() -> None:
    engine = sys.modules.get(_ENGINE)
    if engine is None:
        return
    with suppress(Exception):
        kept = [each for each in gc.get_objects() if type(each) is engine.Connection]
        engine.Connection.close = _do_nothing
        for each in kept:
            for held in vars(each).values():
                # One reference that nobody gives back: the destructor never runs.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
        if kept:
            _skip_destructors()


def _do_nothing(_connection: object) -> None:
    """Stand in for closing, in a child."""


def _skip_destructors() -> None:
    """End the child's `exit` before the library's destructors, with the status it has (glibc only)."""
    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)  # noqa: SLF001 - the name of the system call
