"""One command and its tool: an order's number in, the number of reads really made in `made` out."""

from __future__ import annotations

import time

# What a cache saves: were the read free, the controller would take the cache back as harm.
READ_S = 0.01

made: list[str] = []


def lookup(key: str) -> str:
    """Be the tool whose second call a cache answers."""
    made.append(key)
    time.sleep(READ_S)
    return key


def answer(number: int) -> None:
    """Be one command: the same read twice."""
    lookup(f"order {number}")
    lookup(f"order {number}")
