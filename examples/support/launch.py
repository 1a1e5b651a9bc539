"""Starts what the agent talks to: a folder in, the agent's environment variables out; stops it all at the end.

    with running_backends("work") as env:
        subprocess.run([sys.executable, "-m", "support.workload"], env={**os.environ, **env})

`python -m support.launch --folder work` does the same for a program in any language: one line of JSON
with the variables on standard output, and an end when standard input is closed.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

from . import database, latency

EXAMPLES = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 3.0
# A server needs nothing else of our environment; least of all the agent's instrumentation.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "VIRTUAL_ENV")


class BackendError(Exception):
    """A back end did not start; the text says which and what it wrote."""


class Backend:
    """One server process that ends with us, however we end."""

    def __init__(self, module, arguments, folder):
        self.module = module
        self.log = Path(folder) / f"{module}.log"
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = str(EXAMPLES)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"support.{module}", *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for us; we stop them
            )

    def ready(self, timeout_s=START_TIMEOUT_S):
        """Wait for the line that says it is ready; returns what the line says."""
        lines = []
        reader = Thread(target=lambda: lines.append(self.process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(timeout_s)
        line = lines[0].decode() if lines else ""
        if not line.startswith("READY "):
            self.stop()
            raise BackendError(f"{self.module} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
        return line.removeprefix("READY ").strip()

    def stop(self):
        """Close its standard input, which ends it; kill it if that does not help."""
        self.process.stdin.close()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextmanager
def running_backends(
    folder, back_office=True, error_rate=0.0, row_interval_s=latency.BACK_OFFICE_ROW_INTERVAL_S, seed=1
):
    """Run the model server, the shop service and the back office on a fresh database in `folder`.

    Gives the environment variables an agent process needs, PYTHONPATH for `support` included. Raises
    BackendError when one of them does not start. `back_office=False` leaves the database to the agent
    alone; `error_rate` is the share of model requests that fail.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = database.create(folder / "shop.sqlite")
    with ExitStack() as stack:

        def started(module, *arguments):
            backend = Backend(module, arguments, folder)
            stack.callback(backend.stop)
            return backend

        model = started("model_server", "--error-rate", error_rate)
        shop = started("shop_service")
        if back_office:
            started("back_office", "--database", path, "--row-interval", row_interval_s, "--seed", seed).ready()
        yield {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{model.ready()}/v1",
            "OPENAI_API_KEY": "not-needed",
            "OPENAI_MODEL": "support-model",
            "SUPPORT_SHOP_URL": f"http://127.0.0.1:{shop.ready()}",
            "SUPPORT_DATABASE": str(path),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH")))),
        }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="support-backends")
    parser.add_argument("--no-back-office", action="store_true")
    parser.add_argument("--error-rate", type=float, default=0.0)
    options = parser.parse_args(arguments)
    with running_backends(options.folder, not options.no_back_office, options.error_rate) as env:
        print(json.dumps(env), flush=True)
        with suppress(KeyboardInterrupt):
            while os.read(0, 1024):
                pass


if __name__ == "__main__":
    main()
