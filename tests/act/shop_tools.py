"""Module-level tools, the same in every process, on a file as the world they read and write."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

FOLDER = Path(os.environ.get("SHOP_FOLDER", "."))


def note(word: str) -> None:
    with (FOLDER / "calls").open("a") as file:
        file.write(f"{word}\n")


def read_stock(sku):
    note("read")
    time.sleep(float(os.environ.get("SHOP_READ_S", "0")))
    path = FOLDER / sku
    return {"sku": sku, "left": json.loads(path.read_text()) if path.exists() else 0}


def write_stock(sku, left):
    note("write")
    path = FOLDER / f"{sku}.new{os.getpid()}"
    path.write_text(json.dumps(left))
    path.replace(FOLDER / sku)
    return "written"


async def read_stock_later(sku):
    return read_stock(sku)


def read_odd(sku):
    note("odd")
    return (sku, "a tuple is no JSON")


def read_fails(sku):
    note("fails")
    raise LookupError(sku)


VALUES: dict[str, int] = {}


def read_value(key):
    return [VALUES.get(key, 0)]


def write_value(key, value):
    VALUES[key] = value
    return "written"
