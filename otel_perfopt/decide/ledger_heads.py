"""Chain heads somebody else kept: a file of them in, whether the ledger still holds every one of them out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_perfopt.conventions import LEDGER_HASH, LEDGER_SEQUENCE
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.errors import LedgerError

_HEAD = re.compile(r"(\d{1,12})\s+([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class KnownHead:
    """Where the chain stood once: so many entries, and the last one's hash."""

    sequence: int
    hash: str


def read_heads(file: Path) -> tuple[KnownHead, ...]:
    """Return the heads in a file, in the order they stand there.

    A line is `SEQUENCE HASH`, or OTLP JSON of logs as the Collector's file exporter writes them, of which
    only our own records count. Other lines are an error: they might hide that heads are missing.

    Raises:
        LedgerError: the file cannot be read, a line is neither, or there is no head at all.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise LedgerError(f"cannot read the heads in {file}: {error}") from error
    heads: list[KnownHead] = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            heads.extend(_heads(line.strip(), f"{file}:{number}"))
    if not heads:
        raise LedgerError(f"{file} holds no head: neither lines of SEQUENCE HASH nor our log records")
    return tuple(heads)


def check_heads(entries: Iterable[LedgerEntry], heads: Iterable[KnownHead]) -> None:
    """Check that the ledger goes through every head.

    Raises:
        LedgerError: it ends before one of them, or has another entry in its place.
    """
    hashes = [entry.hash for entry in entries]
    for head in heads:
        if head.sequence > len(hashes):
            raise LedgerError(f"the ledger has {len(hashes)} entries and once had {head.sequence}: its end was cut off")
        if head.sequence and hashes[head.sequence - 1] != head.hash:
            raise LedgerError(
                f"entry {head.sequence} is not the one that stood there (hash {head.hash[:12]}…): the ledger was rewritten"
            )


def _heads(line: str, place: str) -> Iterator[KnownHead]:
    plain = _HEAD.fullmatch(line)
    if plain is not None:
        yield KnownHead(int(plain.group(1)), plain.group(2))
        return
    try:
        records = [record for record in _records(json.loads(line)) if LEDGER_HASH in record]
        for record in records:
            yield KnownHead(int(record[LEDGER_SEQUENCE]), str(record[LEDGER_HASH]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LedgerError(f"{place}: is neither SEQUENCE HASH nor OTLP JSON of logs ({error})") from error


def _records(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in raw["resourceLogs"]:
        for scope in resource.get("scopeLogs", ()):
            for record in scope.get("logRecords", ()):
                yield {item["key"]: next(iter(item["value"].values()), "") for item in record.get("attributes", ())}
