"""The example's traffic with its tools changed from outside, as an optimization would: options in, a summary out.

`--cache a,b` keeps results of those tools for the life of the process, as a cache with a long time to
live does; a write by this process drops what shares an argument with it, a write by anybody else does
not. `--parallel` starts the reads that one reply asks for together, up to its first write.
"""

import argparse
import json
import threading
from concurrent.futures import ThreadPoolExecutor

from support import agent, workload
from support.tools import TOOLS

WRITES = {"refund_order", "update_address", "add_note"}


def keep_results(names):
    kept, lock = {}, threading.Lock()

    def keeping(name, function):
        def call(**arguments):
            key = (name, json.dumps(arguments, sort_keys=True))
            with lock:
                if key in kept:
                    return kept[key][1]
            result = function(**arguments)
            with lock:
                kept[key] = (set(map(str, arguments.values())), result)
            return result

        return call

    def dropping(function):
        def call(**arguments):
            try:
                return function(**arguments)
            finally:
                touched = set(map(str, arguments.values()))
                with lock:
                    for key in [key for key, (values, _) in kept.items() if values & touched]:
                        del kept[key]

        return call

    for name in names:
        TOOLS[name] = keeping(name, TOOLS[name])
    for name in WRITES:
        TOOLS[name] = dropping(TOOLS[name])


def start_reads_together(pool):
    started = threading.local()
    plain = dict(TOOLS)

    def joining(name):
        def call(**arguments):
            futures = getattr(started, "futures", {})
            future = futures.pop((name, json.dumps(arguments, sort_keys=True)), None)
            return future.result() if future else plain[name](**arguments)

        return call

    def after(reply):
        def call():
            message = reply()
            started.futures = {}
            for request in message.tool_calls or ():
                if request.function.name in WRITES:
                    break
                arguments = json.loads(request.function.arguments)
                key = (request.function.name, json.dumps(arguments, sort_keys=True))
                started.futures[key] = pool.submit(plain[request.function.name], **arguments)
            return message

        return call

    create = agent.SupportAgent.__init__

    def created(self, *args, **kwargs):
        create(self, *args, **kwargs)
        self.reply = after(self.reply)

    agent.SupportAgent.__init__ = created
    for name in plain:
        TOOLS[name] = joining(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default="")
    parser.add_argument("--parallel", action="store_true")
    changes, arguments = parser.parse_known_args()
    if changes.cache:
        keep_results(changes.cache.split(","))
    with ThreadPoolExecutor(128) as pool:
        if changes.parallel:
            start_reads_together(pool)
        workload.main(arguments)


if __name__ == "__main__":
    main()
