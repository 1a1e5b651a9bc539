"""The example's traffic with faults that can be switched on while it runs: a control file in, outcomes on stdout out.

The faults are in what treatment does, as a bad optimization would have them: nothing here happens to baseline.
Each outcome says which policies treated it, also where no telemetry can be written.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import workload
from support.tools import TOOLS

from otel_perfopt.act.tool_cache import ToolCache
from otel_perfopt.conventions import POLICY_ARM, policy_attribute
from otel_perfopt.signal.emit.runs import current_run

READS = ("get_customer", "get_order", "list_orders", "list_notes", "search_docs", "shipping_status", "inventory")
PREFIX, ARM = policy_attribute("\0", POLICY_ARM).split("\0")
NOTED = threading.local()
SLOW_S = 0.6
LOOK_S = 0.1


class Control:
    """What is switched on now, read from a small JSON file several times a second."""

    def __init__(self, path: Path, number: str) -> None:
        self._path, self._number = path, number
        self.mode = ""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            try:
                said = json.loads(self._path.read_text())
            except (OSError, ValueError):
                said = {}
            self.mode = said.get("mode", "")
            time.perfopt_skew_ns[0] = int(said.get("skew_s", {}).get(self._number, 0) * 1e9)
            time.sleep(LOOK_S)


def treating() -> list[str]:
    """Return the policies in whose treatment the run under way is."""
    run = current_run()
    attributes = getattr(run.span, "attributes", None) or {} if run is not None else {}
    return [
        name[len(PREFIX) : -len(ARM)] for name, value in attributes.items() if _is_arm(name) and value == "treatment"
    ]


def _is_arm(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(ARM)


def spoil_tools(control: Control) -> None:
    """Put the fault between each read-only tool and the agent."""

    def between(tool: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            NOTED.treated_by = treating()
            result = tool(**arguments)
            if control.mode == "slow" and NOTED.treated_by:
                time.sleep(SLOW_S)
            return result

        return call

    for name in READS:
        TOOLS[name] = between(TOOLS[name])


def note_treatment() -> None:
    """Have each outcome say which policies treated it."""
    plain = workload.run_command

    def noted(*arguments: Any) -> dict[str, Any]:
        NOTED.treated_by = []
        outcome = plain(*arguments)
        return {**outcome, "treated_by": NOTED.treated_by}

    workload.run_command = noted


def spoil_cache(control: Control) -> None:
    """Make the optimization itself raise while `errors` is switched on."""
    plain = ToolCache.around

    def around(self: ToolCache, *arguments: Any, **more: Any) -> Any:
        if control.mode == "errors":
            raise RuntimeError("a fault in an optimization, injected")
        return plain(self, *arguments, **more)

    ToolCache.around = around


def main() -> None:
    """Run the traffic."""
    control = Control(Path(os.environ["FAULTS_CONTROL"]), os.environ["FAULTS_AGENT"])
    spoil_tools(control)
    note_treatment()
    spoil_cache(control)
    workload.main(sys.argv[1:])


if __name__ == "__main__":
    main()
