"""Who this process is to the allocation: nothing in, an id of its own out."""

from __future__ import annotations

import os
from uuid import uuid4


class ProcessUnit:
    """The unit of a process. A forked child is another unit, unless what its parent chose binds it too."""

    __slots__ = ("_pinned", "unit")

    def __init__(self) -> None:
        self.unit = uuid4().hex
        self._pinned = False

    def pin(self) -> None:
        """Children share their parent's lot from here on: they inherit what was done to it at its start."""
        self._pinned = True

    def unpin(self) -> None:
        """Children are units of their own again."""
        self._pinned = False

    def after_fork(self) -> None:
        """Become a unit of its own in the child, unless pinned."""
        if not self._pinned:
            self.unit = uuid4().hex


THIS_PROCESS = ProcessUnit()


def process_unit() -> str:
    """Return the unit of this process."""
    return THIS_PROCESS.unit


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=THIS_PROCESS.after_fork)
