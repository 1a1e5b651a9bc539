"""A controller with a short lease and a clock that may be wrong: a home folder in, problems and units known out, until killed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

from otel_perfopt.loop.controller import Controller, Turn


def _end_with_input() -> None:
    """End the process when whoever started it has gone."""
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Take turns for ever."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--lease", type=float, default=6.0)
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--units", type=Path, help="a file that says how many units each policy's comparison has")
    parser.add_argument("--skew", type=float, default=0.0, help="seconds that its clock is ahead")
    options = parser.parse_args()
    controller = Controller(options.home, lambda: time.time_ns() + int(options.skew * 1e9), lease_s=options.lease)
    print("ready", flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    told: set[str] = set()
    while True:
        turn = controller.turn()
        for problem in turn.problems:
            if problem not in told:
                told.add(problem)
                print(problem, file=sys.stderr, flush=True)
        if options.units is not None:
            _tell_units(options.units, turn)
        if not turn.behind:
            time.sleep(options.every)


def _tell_units(file: Path, turn: Turn) -> None:
    units = {name: len(standing.units) for name, standing in turn.standings.items()}
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"behind": turn.behind, "units": units}))
    new.replace(file)


if __name__ == "__main__":
    main()
