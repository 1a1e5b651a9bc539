"""Whether an agent's clock is ahead, as far as its telemetry tells: a home folder and the time in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from otel_perfopt.loop.observatory import TELEMETRY_FOLDER

# What two clocks on one network may differ by, and a second or two of rounding.
_TOLERATED_S = 5.0
_FILES, _TAIL_BYTES = 5, 64 << 10
_END = re.compile(rb'"endTimeUnixNano"\s*:\s*"?(\d{15,20})')


def clocks_ahead(home: Path, now_ns: int) -> Iterator[str]:
    """Yield a sentence for each of the newest telemetry files that tells of spans which ended after it was written.

    `now_ns` is Unix time. A file's own time is this machine's, or that of who shares the folder; what
    ended later than it was written down, or than now, was timed by a clock that is ahead.
    """
    for path, written_ns in _newest(home / TELEMETRY_FOLDER):
        last_ns = max((int(found) for found in _END.findall(_tail(path))), default=0)
        ahead_s = (last_ns - min(written_ns, now_ns)) / 1e9
        if ahead_s > _TOLERATED_S:
            yield (
                f"{path.name} tells of spans that end {ahead_s:.0f} s after they were written down: the clock of the "
                "agent that wrote it is ahead, so what it did is taken up late; set the clocks of both machines (NTP)"
            )


def _newest(folder: Path) -> list[tuple[Path, int]]:
    found = []
    for path in folder.glob("*.jsonl") if folder.is_dir() else ():
        try:
            found.append((path, path.stat().st_mtime_ns))
        except OSError:  # noqa: PERF203 - a file that is removed meanwhile is none
            continue
    return sorted(found, key=lambda one: one[1], reverse=True)[:_FILES]


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read(_TAIL_BYTES)
    except OSError:
        return b""
