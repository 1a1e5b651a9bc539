"""The example by itself: back ends, then traffic from one or more agent processes; `python -m support`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from .launch import running_backends


def workload_command(program, arguments, processes, index, conversations):
    share = conversations // processes + (index < conversations % processes)
    first = sum(conversations // processes + (i < conversations % processes) for i in range(index))
    return [sys.executable, *program, "--first", str(first), "--conversations", str(share), *arguments]


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog="Other options go to support.workload.")
    parser.add_argument("--folder", help="where the database and logs go; a temporary folder if not given")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=20, help="in all processes together")
    parser.add_argument("--no-back-office", action="store_true")
    parser.add_argument("--error-rate", type=float, default=0.0)
    parser.add_argument("--program", help="a script that runs the traffic in place of support.workload")
    options, others = parser.parse_known_args()
    program = [options.program] if options.program else ["-m", "support.workload"]
    with (
        tempfile.TemporaryDirectory() as temporary,
        running_backends(options.folder or temporary, not options.no_back_office, options.error_rate) as env,
    ):
        processes = [
            subprocess.Popen(
                workload_command(program, others, options.processes, index, options.conversations),
                env={**os.environ, **env},
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(options.processes)
        ]
        for process in processes:
            text, _ = process.communicate()
            print(json.dumps(json.loads(text), indent=2) if process.returncode == 0 else text)
    return max(process.returncode for process in processes)


if __name__ == "__main__":
    sys.exit(main())
