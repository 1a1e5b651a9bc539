"""The single values of a call's arguments or result by their place: content in, digests by path out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

MAX_LEAVES = 64
MAX_DEPTH = 6
# Of a list its first three items and its last one can be named.
MAX_ITEMS = 3
MAX_TEXT_CHARS = 1 << 16
# A longer text is nobody's argument.
MAX_LEAF_CHARS = 4096
_DIGEST_BYTES = 6
_MAX_KNOWN = 1 << 13
_MAX_KNOWN_CHARS = 64

# Agents meet the same short values again and again; cleared when full.
_digests: dict[str, str] = {}


def leaves_of(value: object) -> dict[str, str]:
    """Return by path (`order.lines[0].sku`, `[-1].id`) a digest of each single value; at most 64.

    Text that is JSON is read as the structure it is; other text is one value, of the path `$`.
    Text of more than 4,096 characters names nothing.
    Never raises.
    """
    found: dict[str, str] = {}
    for seen, (path, leaf) in enumerate(_walk(_structure(value), "", 0)):
        if seen >= MAX_LEAVES:
            break
        found[path or "$"] = digest_of(leaf)
    return found


def leaf_values(value: object, paths: Collection[str]) -> dict[str, object]:
    """Return the single values at `paths`, as far as `leaves_of` would name them; never raises."""
    found: dict[str, object] = {}
    for seen, (path, leaf) in enumerate(_walk(_structure(value), "", 0)):
        if seen >= MAX_LEAVES or len(found) == len(paths):
            break
        name = path or "$"
        if name in paths:
            found[name] = leaf
    return found


def digest_of(leaf: object) -> str:
    """Return 12 hex digits that are equal for equal values: 5 and 5.0 are, 5 and "5" are too."""
    if isinstance(leaf, float) and leaf.is_integer():
        leaf = int(leaf)
    # Most are texts; of the rest most are whole numbers, whose JSON is their `repr`.
    text = leaf if isinstance(leaf, str) else repr(leaf) if type(leaf) is int else json.dumps(leaf, default=repr)
    known = _digests.get(text)
    if known is None:
        known = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        if len(text) <= _MAX_KNOWN_CHARS:
            if len(_digests) >= _MAX_KNOWN:
                _digests.clear()
            _digests[text] = known
    return known


def _walk(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        if depth < MAX_DEPTH:
            for key, item in value.items():
                yield from _walk(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        if depth < MAX_DEPTH:
            for place, item in enumerate(value[:MAX_ITEMS]):
                yield from _walk(item, f"{path}[{place}]", depth + 1)
            if value:
                yield from _walk(value[-1], f"{path}[-1]", depth + 1)
    elif value is not None and value != "" and not (isinstance(value, str) and len(value) > MAX_LEAF_CHARS):
        yield path, value


def _structure(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("{", "[") and len(value) <= MAX_TEXT_CHARS:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def leaf_attribute(leaves: Mapping[str, str]) -> list[str]:
    """Return leaves as a span's attribute holds them: `path=digest`."""
    return [f"{path}={digest}" for path, digest in leaves.items()]
