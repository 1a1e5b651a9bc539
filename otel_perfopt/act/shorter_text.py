"""The same in fewer characters: a tool's result, and what was said before it, in; a shorter form out, or None."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

CHARS_A_TOKEN = 4  # an estimate, and marked as one wherever it is shown
MAX_JSON_CHARS = 2_000_000
MAX_DIFF_CHARS = 200_000
MAX_DIFF_LINES = 3_000
_LEAST_ROWS = 2


def compact_json(text: str) -> str | None:
    """Return JSON without its spaces; a list of objects with the same names as a table. Nothing is lost.

    A table is `{"columns": [...], "rows": [[...], ...]}`: each name is said once. None: no JSON.
    """
    start = text.lstrip()[:1]
    if start not in ("{", "[") or len(text) > MAX_JSON_CHARS:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return json.dumps(_tabled(value), ensure_ascii=False, separators=(",", ":"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice; as an object one of the values would be lost")
    return found


def _tabled(value: Any, depth: int = 8) -> Any:
    if depth == 0:
        return value
    if isinstance(value, dict):
        return {name: _tabled(item, depth - 1) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    columns = list(value[0]) if value and isinstance(value[0], dict) else []
    same = columns and all(isinstance(item, dict) and list(item) == columns for item in value)
    if same and len(value) >= _LEAST_ROWS and len(columns) > 1:
        rows = [[_tabled(item, depth - 1) for item in row.values()] for row in value]
        return {"columns": columns, "rows": rows}
    return [_tabled(item, depth - 1) for item in value]


@lru_cache(128)
def lines_of(text: str) -> frozenset[int]:
    """Return a text's lines by their hash; none of a text too long to be compared."""
    return frozenset(map(hash, text.split("\n"))) if len(text) <= MAX_DIFF_CHARS else frozenset()


def changes_since(before: str, after: str, name: str) -> str | None:
    """Return what changed in a text since it was read last, as a unified diff; None where it would not be short."""
    if max(len(before), len(after)) > MAX_DIFF_CHARS:
        return None
    old, new = before.split("\n"), after.split("\n")
    if max(len(old), len(new)) > MAX_DIFF_LINES or len(set(old) & set(new)) * 2 < len(set(new)):
        return None
    lines = islice(difflib.unified_diff(old, new, n=1, lineterm=""), 2, None)  # without the two names
    return "\n".join((f"[{name}, with these changes]", *lines))


def head_and_tail(text: str, max_chars: int) -> str:
    """Return the first two thirds and the last third of `max_chars`, cut at lines where there are any near.

    This loses what is between; what is left says how much, and how to get it.
    """
    head, tail = text[: max_chars * 2 // 3], text[-(max_chars // 3) :]
    head = head[: head.rfind("\n") + 1] if "\n" in head[len(head) // 2 :] else head
    tail = tail[tail.find("\n") + 1 :] if "\n" in tail[: len(tail) // 2] else tail
    missing = len(text) - len(head) - len(tail)
    note = f"[{missing} characters left out; ask the tool again, for less, to see them]"
    return f"{head.rstrip()}\n{note}\n{tail.lstrip()}"


def shortest(text: str, forms: Sequence[str | None], min_saving: int) -> str | None:
    """Return the shortest of the forms that saves at least `min_saving` characters, or None."""
    best = min((form for form in forms if form is not None), key=len, default=None)
    return best if best is not None and len(text) - len(best) >= min_saving else None
