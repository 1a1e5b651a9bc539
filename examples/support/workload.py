"""Traffic: conversations in, one JSON line for each command and a summary out; `python -m support.workload`.

Conversations run in threads of this one process, each with an agent of its own. The same seed and
numbers give the same commands. SIGTERM lets the running conversations end and starts no more.
"""

import argparse
import json
import os
import resource
import signal
import sys
import threading
import time
from itertools import count
from pathlib import Path

from . import customers, latency, shop_client, truth
from .agent import SupportAgent, TaskFailed, default_client


def run_command(agent, command):
    """Ask, and judge the answer; `failed` tells an exception from an answer that came but was wrong."""
    started, clock = time.time(), time.perf_counter()
    answer, failed, why = None, False, None
    try:
        answer = agent.ask(command.text)
    except TaskFailed as error:
        failed, why = True, f"task failed: {error}"
    except Exception as error:
        failed, why = True, f"error: {type(error).__name__}: {error}"
    seconds = time.perf_counter() - clock
    if not failed:
        why = truth.problem_with(os.environ["SUPPORT_DATABASE"], command, answer, started, started + seconds)
    return {
        "conversation": command.conversation,
        "command": command.name,
        "kind": command.kind,
        "started": round(started, 3),
        "seconds": round(seconds, 4),
        "ok": why is None,
        "failed": failed,
        "why": why,
        "answer": answer,
    }


def run_conversation(seed, number, options):
    """Run one conversation's commands in turn; gives each command's outcome as it ends."""
    commands = [c for c in customers.conversation(seed, number) if c.name.lstrip("/") in options.commands]
    agent = None
    for command in commands:
        if agent is None:
            agent = SupportAgent(session_id=command.conversation, stream=options.stream)
        else:
            time.sleep(options.pause)
        yield run_command(agent, command)


def run(options, write=lambda line: None, stop=None):
    """Run all conversations of `options`; returns the outcomes, in the order they ended."""
    stop = stop or threading.Event()
    numbers, lock, outcomes = count(options.first), threading.Lock(), []

    def take():
        with lock:
            number = next(numbers)
        return None if stop.is_set() or number >= options.first + options.conversations else number

    def work():
        while (number := take()) is not None:
            for outcome in run_conversation(options.seed, number, options):
                with lock:
                    outcomes.append(outcome)
                    write(json.dumps(outcome, ensure_ascii=False))

    threads = [threading.Thread(target=work, name=f"conversation-{i}") for i in range(options.concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def summary(outcomes, wall_s, cpu_s):
    """Counts, failures and times by command."""
    conversations = len({outcome["conversation"] for outcome in outcomes})
    result = {
        "conversations": conversations,
        "wall_s": round(wall_s, 2),
        "cpu_ms_per_conversation": round(1000 * cpu_s / max(1, conversations), 1),
        "commands": {},
    }
    for name in sorted({outcome["command"] for outcome in outcomes}):
        of_name = [outcome for outcome in outcomes if outcome["command"] == name]
        seconds = sorted(outcome["seconds"] for outcome in of_name)
        result["commands"][name] = {
            "count": len(of_name),
            "failed": sum(outcome["failed"] for outcome in of_name),
            "wrong": sum(not outcome["ok"] and not outcome["failed"] for outcome in of_name),
            "mean_s": round(sum(seconds) / len(seconds), 4),
            "p50_s": seconds[len(seconds) // 2],
            "p95_s": seconds[int(len(seconds) * 0.95)],
        }
    return result


def options_from(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first one; give each process its own range")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default="query,task", type=lambda text: tuple(text.split(",")))
    parser.add_argument("--pause", type=float, default=latency.CUSTOMER_READS_S, help="seconds between two commands")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input is closed")
    parser.add_argument("--out", type=Path, help="file of JSON lines, one for each command; appended to")
    return parser.parse_args(arguments)


def warm_up():
    """Load what the first command would load, so that start-up is not counted as traffic."""
    default_client().chat.completions.with_raw_response
    default_client().models.list()
    shop_client.client()


def stop_with_input(stop, input_descriptor=0):
    """Set `stop` once our standard input ends, as it does when the program that started us dies."""

    def watch():
        while os.read(input_descriptor, 1024):
            pass
        stop.set()

    threading.Thread(target=watch, name="stop-with-input", daemon=True).start()


def main(arguments=None):
    options = options_from(arguments)
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    if options.until_input_ends:
        stop_with_input(stop)
    warm_up()
    started, cpu = time.perf_counter(), cpu_seconds()
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            outcomes = run(options, lambda line: print(line, file=file, flush=True), stop)
    else:
        outcomes = run(options, stop=stop)
    print(json.dumps(summary(outcomes, time.perf_counter() - started, cpu_seconds() - cpu)), flush=True)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
