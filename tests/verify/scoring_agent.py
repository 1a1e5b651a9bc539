"""An agent whose users are asked what they think: conversations in two commands, then, when told to, their scores."""

from __future__ import annotations

import sys
import time

from otel_perfopt import command, feedback, tool

EXECUTED = []


@tool("read_price", effects="read")
def read_price(sku):
    EXECUTED.append(sku)
    time.sleep(0.005)  # or keeping the price would cost more than it saves, and end the roll-out for that
    return {"sku": sku, "cents": 5}


def converse(conversation):
    """Ask for the same price twice; returns whether the second was looked up afresh."""
    for _ in range(2):
        with command("/query", conversation_id=conversation):
            before = len(EXECUTED)
            read_price("a")
    return len(EXECUTED) > before


def main():
    fresh = {f"c{number}": converse(f"c{number}") for number in range(int(sys.argv[1]))}
    print("answered", flush=True)  # noqa: T201 - the test waits for it
    sys.stdin.readline()
    for conversation, was_fresh in fresh.items():
        # People dislike prices that are not fresh, and say so with a thumb down.
        assert feedback(1.0 if was_fresh else -1.0, conversation_id=conversation)
        assert feedback(0.9 if was_fresh else 0.6, name="Answer-Relevancy", conversation_id=conversation)


if __name__ == "__main__":
    main()
