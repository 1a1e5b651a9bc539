"""A home folder in, whether telemetry arrives, what is in force, what is switched off and what went wrong out."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from otel_perfopt import conventions as c
from otel_perfopt.cli.checkup import Line, fine, note, warning
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.kill_switch import KILL_FOLDER, KillSwitch
from otel_perfopt.decide.publish import SNAPSHOT_FILE
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit.telemetry_file import FOLDER
from otel_perfopt.signal.read.otlp_line import spans_of

_TAIL_BYTES: Final = 4 << 20
_FILES: Final = 5
_STALE_S: Final = 24 * 3600
_AHEAD_S: Final = 5
_METRICS: Final = "metrics"


def look_at_home(home: Path, now_ns: int, settings: AgentSettings) -> Iterator[Line]:
    """Yield the lines about a home folder."""
    if not home.is_dir():
        yield note("home", f"{home.absolute()} is not there yet", "perfopt run python my_agent.py makes it")
        return
    yield from _permissions(home)
    yield from _telemetry(home / FOLDER, now_ns, settings)
    yield from _troubles(home)
    yield from _snapshot(home / SNAPSHOT_FILE, now_ns)
    yield from _switches(home)
    yield from _clock(home, now_ns)


def _permissions(home: Path) -> Iterator[Line]:
    if os.access(home, os.W_OK | os.X_OK):
        yield fine("home", f"{home.absolute()} can be written to")
    else:
        yield warning("home", f"{home.absolute()} cannot be written to by this user", f"chown or chmod u+rwx {home}")
    for path in (home, home / SNAPSHOT_FILE, home / "policies", home / "ledger.jsonl"):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        # Who can write these decides what agents do, without approval.
        if mode & stat.S_IWOTH and not (path.is_dir() and mode & stat.S_ISVTX):
            fact = f"anybody on this machine can change {path} ({stat.filemode(mode)})"
            yield warning("permissions", fact, f"chmod o-w {path}")


def _newest(folder: Path, pattern: str = "*.jsonl") -> list[tuple[float, int, Path]]:
    found = []
    for path in folder.glob(pattern) if folder.is_dir() else ():
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((status.st_mtime, status.st_size, path))
    return sorted(found, reverse=True)


def _telemetry(folder: Path, now_ns: int, settings: AgentSettings) -> Iterator[Line]:
    files = [found for found in _newest(folder) if found[1]]
    if not files:
        fact = f"nothing has been written to {folder} yet"
        yield note("telemetry", fact, "perfopt run python my_agent.py, then use the agent")
        return
    total, (changed, _, newest) = sum(size for _, size, _ in files), files[0]
    age_s = max(0.0, now_ns / 1e9 - changed)
    fact = f"{len(files)} file(s), {total / 2**20:.1f} MiB; {newest.name} was written to {_ago(age_s)} ago"
    if age_s > _STALE_S:
        yield note("telemetry", fact, "no agent has written for a day; is one running under perfopt run?")
    else:
        yield fine("telemetry", fact)
    if total > 0.9 * settings.telemetry_total_bytes:
        limit = settings.telemetry_total_bytes / 2**20
        remedy = "raise PERFOPT_TELEMETRY_TOTAL_BYTES to keep more history"
        yield note("telemetry", f"the limit of {limit:.0f} MiB is near; the oldest files are removed", remedy)


def _ago(seconds: float) -> str:
    for unit, length in (("day(s)", 86_400), ("hour(s)", 3600), ("minute(s)", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} second(s)"


def _troubles(home: Path) -> Iterator[Line]:
    """Look through the end of the newest files: faults of ours, broken lines, spans that were dropped."""
    faults: Counter[str] = Counter()
    broken = 0
    for _, _, path in _newest(home / FOLDER)[:_FILES]:
        for line in _tail(path):
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                broken += 1
                continue
            if isinstance(value, dict):
                faults.update(_faults(value))
    if faults:
        listed = ", ".join(f"{kind} ({number})" for kind, number in faults.most_common(5))
        fact = f"otel-perfopt failed inside agents, which went on without it: {listed}"
        yield warning("faults", fact, "the agent's log has the first of each kind under the logger otel_perfopt")
    if broken:
        fact = f"{broken} line(s) of telemetry are broken: a process was killed while it wrote, or the disk was full"
        yield warning("telemetry", fact, "nothing else is lost; look at the free space of the disk")
    dropped = sum(map(_dropped, (path for _, _, path in _newest(home / _METRICS)[:_FILES])))
    if dropped:
        fact = f"{dropped} span(s) were dropped because they came faster than they could be kept"
        yield warning("telemetry", fact, "sample in the agent (OTEL_TRACES_SAMPLER), or give it more CPU")
    if not (faults or broken or dropped):
        yield fine("faults", "none seen in the newest telemetry: no fault of ours, no broken line, no dropped span")


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    lines = data.split(b"\n")
    # The first may be the end of a longer line, the last is still being written.
    return [line for line in lines[size > _TAIL_BYTES : -1] if line.strip()]


def _faults(value: dict[str, Any]) -> Iterator[str]:
    for span in spans_of(value, "", lambda _: None):
        for event in span.events:
            if event.name == c.FAULT_EVENT:
                yield f"{event.attributes.get(c.FAULT_OPTIMIZATION, '?')}: {event.attributes.get(c.ERROR_TYPE, '?')}"


def _dropped(path: Path) -> int:
    """Return the last count of dropped spans that a metrics file states (a cumulative sum)."""
    for line in reversed(_tail(path)):
        if c.METRIC_DROPPED[0].encode() in line:
            try:
                return _last_sum(orjson.loads(line), c.METRIC_DROPPED[0])
            except (orjson.JSONDecodeError, ValueError, TypeError, AttributeError, KeyError):
                continue
    return 0


def _last_sum(value: dict[str, Any], name: str) -> int:
    points = (
        point
        for resource in value["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        if metric["name"] == name
        for point in metric["sum"]["dataPoints"]
    )
    return sum(int(point.get("asInt", point.get("asDouble", 0))) for point in points)


def _snapshot(path: Path, now_ns: int) -> Iterator[Line]:
    try:
        snapshot = Snapshot.from_json(path.read_text())
    except FileNotFoundError:
        yield fine("snapshot", "none: every agent runs as it was written (perfopt loop publishes one)")
        return
    except (OSError, ValueError) as error:
        fact = f"{path} cannot be used: {error}; agents keep the last good one until its lease ends"
        yield warning("snapshot", fact, f"perfopt loop writes it anew; if not, remove {path}")
        return
    names = [f"{decision.policy} ({decision.stage})" for decision in snapshot.decisions]
    what = ", ".join(names) or "nothing is in force"
    age_s = (now_ns - snapshot.generated_at_ns) / 1e9
    if not snapshot.expired(now_ns):
        yield fine(
            "snapshot", f"generation {snapshot.generation}: {what}; the lease ends in {snapshot.lease_s - age_s:.0f} s"
        )
    elif names and (behind_s := _controller_behind_s(path, snapshot, now_ns)) is not None:
        fact = (
            f"published just now, by a controller whose clock is {behind_s:.0f} s behind this machine's: that is more than"
            f" the lease of {snapshot.lease_s:.0f} s, so agents here never treat anybody; it holds: {what}"
        )
        yield warning("snapshot", fact, "set the clocks of both machines (NTP)")
    elif names:
        fact = f"the lease ended {_ago(age_s - snapshot.lease_s)} ago, so agents run as baseline; it held: {what}"
        yield warning("snapshot", fact, "start the controller again: perfopt loop")
    else:
        yield fine("snapshot", f"generation {snapshot.generation}: {what}; its lease is over")


def _controller_behind_s(path: Path, snapshot: Snapshot, now_ns: int) -> float | None:
    """Return how far the controller's clock is behind ours, None where the file simply is old."""
    try:
        written_ns = path.stat().st_mtime_ns
    except OSError:
        return None
    # The file system says when it was written by our clock, the document by the controller's.
    fresh = now_ns - written_ns <= snapshot.lease_s * 1e9
    return (written_ns - snapshot.generated_at_ns) / 1e9 if fresh else None


def _switches(home: Path) -> Iterator[Line]:
    switch = KillSwitch(home)
    if switch.everything:
        yield warning(
            "kill switch", f"{home / 'kill'} switches all treatment off", "perfopt unkill, when it may be on again"
        )
    try:
        killed = sorted(path.name for path in (home / KILL_FOLDER).iterdir())
    except OSError:
        killed = []
    for name in killed:
        yield warning("kill switch", f"the policy {name} is switched off", f"perfopt unkill {name}")
    if not switch.everything and not killed:
        yield fine("kill switch", "off: policies in force are applied")


def _clock(home: Path, now_ns: int) -> Iterator[Line]:
    ahead_s = max((changed - now_ns / 1e9 for changed, _, _ in _newest(home / FOLDER)), default=0.0)
    try:
        published_ns = Snapshot.from_json((home / SNAPSHOT_FILE).read_text()).generated_at_ns
        ahead_s = max(ahead_s, (published_ns - now_ns) / 1e9)
    except (OSError, ValueError):
        pass
    if ahead_s > _AHEAD_S:
        fact = f"files here are {ahead_s:.0f} s ahead of this machine's clock, so leases end at the wrong time"
        yield warning("clock", fact, "synchronise the clocks of the agents' and the controller's machines (NTP)")
    else:
        yield fine("clock", "agrees with the files that agents and controller wrote")
