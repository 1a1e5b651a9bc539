"""How fast recorded sessions are read, and in how much memory: a folder in, lines a second and peak RSS out.

    python benchmarks/read_speed.py [FOLDER]

Reads the folder's files once and ten times over (copies under other names with new ids), each in a
process of its own. Lines a second are per second of CPU time of one core.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEFAULT = Path(os.environ.get("PERFOPT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "claude-code"


def copies(folder: Path, times: int, into: Path) -> None:
    """Write each session `times` over, every copy with ids of its own so that none counts as resumed."""
    for path in sorted(folder.glob("*.jsonl*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for number in range(times):
            mark = f"{number:02d}".encode()
            changed = data
            for start in (b'"uuid":"', b'"id":"', b'"tool_use_id":"', b'"sessionId":"', b'"parentToolUseID":"'):
                changed = changed.replace(start, start + mark)
            (into / f"{number:02d}-{path.stem}.gz").write_bytes(gzip.compress(changed, 6))


def measure(folder: Path, *, whole: bool) -> None:
    """Read a folder in this process, or read and analyse it, and print what it took."""
    from otel_perfopt.analyse.analyser import analyse  # noqa: PLC0415 - imports are no part of what is measured
    from otel_perfopt.execution.recorded import RecordedExecutions  # noqa: PLC0415
    from otel_perfopt.signal.read.recorded import open_recorded  # noqa: PLC0415

    begin = time.process_time()
    source = open_recorded([folder])
    if whole:
        analyse(RecordedExecutions(source))
    else:
        for _ in source.batches():
            pass
    seconds = time.process_time() - begin
    tally = source.tally
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{'analysed' if whole else 'read':8} {tally.files:4d} files {tally.lines:7d} lines {tally.spans:7d} spans "
        f"{seconds:6.2f} s {tally.lines / seconds:9,.0f} lines/s  peak {peak:6.1f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--measure", choices=["read", "whole"], help="measure the folder as it is, in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.folder, whole=arguments.measure == "whole")
        return
    for times in (1, 10):
        with tempfile.TemporaryDirectory() as into:
            copies(arguments.folder, times, Path(into))
            for what in ("read", "whole"):
                subprocess.run([sys.executable, __file__, "--measure", what, into], check=True)


if __name__ == "__main__":
    main()
