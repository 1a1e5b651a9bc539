"""Where a controller stood in its telemetry: its running sums in, one atomically replaced file out, and back.

The file holds plain data and a fixed list of our own classes; nothing else in it can be made, so a
file that somebody else wrote runs no code. Whatever is wrong with it, the telemetry is read anew.
"""

from __future__ import annotations

import io
import logging
import pickle  # restricted to the classes below
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from otel_perfopt import __version__
from otel_perfopt.decide.durable_file import write_atomically
from otel_perfopt.decide.observation import ShadowReport
from otel_perfopt.loop import shadow_watch
from otel_perfopt.signal.read import otlp_tail
from otel_perfopt.signal.record import SpanEvent, SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally
from otel_perfopt.verify import units

CHECKPOINT_FILE = "checkpoint.bin"
_MAGIC = b"perfopt.checkpoint 1\n"
_DIGEST_BYTES = 32
_MOST_BYTES = 1 << 30
_CLASSES: tuple[type, ...] = (
    OrderedDict,
    Counter,
    ShadowReport,
    SpanEvent,
    SpanRecord,
    ReadProblem,
    ReadTally,
    otlp_tail._OpenTrace,  # noqa: SLF001 - the running state of rooms before this one
    shadow_watch._Seen,  # noqa: SLF001 - the same
    shadow_watch._Trial,  # noqa: SLF001 - the same
    units._Row,  # noqa: SLF001 - the same
    units._Trial,  # noqa: SLF001 - the same
)
_ALLOWED = {(one.__module__, one.__qualname__): one for one in _CLASSES}
_LOG = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint of one home folder; `faults` counts files that could not be used or written."""

    def __init__(self, home: Path) -> None:
        self._path = home / CHECKPOINT_FILE
        self.faults = 0

    def save(self, state: Mapping[str, Any], files: Iterable[Path]) -> bool:
        """Write the state, and which files it is about; tell whether it could be written."""
        try:
            content = pickle.dumps((_shape(), _identities(files), dict(state)), protocol=4)
            write_atomically(self._path, _MAGIC + sha256(content).digest() + content)
        except Exception as error:
            self.faults += 1
            _LOG.warning("%s cannot be written: %s: %s", self._path, type(error).__name__, error)
            return False
        return True

    def load(self) -> Mapping[str, Any] | None:
        """Return the state, or None where there is none that holds: no file, another version, other files, damage."""
        try:
            with self._path.open("rb") as stream:
                content = stream.read(_MOST_BYTES)
            return _state(content)
        except FileNotFoundError:
            return None
        except Exception as error:
            self.faults += 1
            _LOG.warning("%s cannot be used (%s); telemetry is read anew", self._path, error)
            return None


def _state(content: bytes) -> Mapping[str, Any] | None:
    start = len(_MAGIC) + _DIGEST_BYTES
    if not content.startswith(_MAGIC) or sha256(content[start:]).digest() != content[len(_MAGIC) : start]:
        raise ValueError("it is damaged or no checkpoint")
    shape, identities, state = _Reader(io.BytesIO(content[start:])).load()
    if shape != _shape() or not all(_is_same(*known) for known in identities.items()):
        return None
    return state if isinstance(state, dict) else None


class _Reader(pickle.Unpickler):
    """Makes our own classes and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return an allowed class."""
        found = _ALLOWED.get((module_name, global_name))
        if found is None:
            raise ValueError(f"it wants to make a {module_name}.{global_name}")
        return found


def _shape() -> list[object]:
    """Return what must be the same for the state to fit: our version and each class's fields."""
    names = [[one.__qualname__, *(field.name for field in fields(one))] for one in _CLASSES if is_dataclass(one)]
    return [__version__, names]


def _identities(files: Iterable[Path]) -> dict[str, tuple[int, int, int]]:
    found = {}
    for file in files:
        status = file.stat()
        found[str(file)] = (status.st_dev, status.st_ino, status.st_size)
    return found


def _is_same(name: str, known: tuple[int, int, int]) -> bool:
    """Tell whether a file still is the one it was, or has been rotated away; one that shrank or was replaced is not."""
    try:
        status = Path(name).stat()
    except FileNotFoundError:
        return True
    return (status.st_dev, status.st_ino) == known[:2] and status.st_size >= known[2]
