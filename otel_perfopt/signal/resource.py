"""A tool's name and arguments in, the name of what it reads or writes (a file, an address, a row) out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_RESOURCE_CHARS: Final = 512
# The first key present names the resource; a search's `path` is where it looks, not what it reads.
_RESOURCE_KEYS: Final = (
    "file_path",
    "notebook_path",
    "absolute_path",
    "filePath",
    "filepath",
    "filename",
    "file",
    "uri",
    "url",
    "path",
)
_SEARCH_KEYS: Final = frozenset({"pattern", "query", "regex", "glob", "command"})


def resource_name(arguments: object) -> str:
    """Return the resource that a call's arguments name, or an empty string.

    A file or address under one of the usual keys is returned as it stands; a row is named by the
    call's only `…_id` argument, as `key=value`. Searches and shell commands name none. The name is
    content: where content must not be kept, digest it. Never raises.
    """
    if not isinstance(arguments, Mapping) or not _SEARCH_KEYS.isdisjoint(arguments):
        return ""
    for key in _RESOURCE_KEYS:
        value = arguments.get(key)
        if isinstance(value, str) and value:
            return value[:MAX_RESOURCE_CHARS]
    rows = [(key, value) for key, value in arguments.items() if isinstance(key, str) and key.endswith("_id")]
    if len(rows) == 1 and isinstance(rows[0][1], (str, int)):
        return f"{rows[0][0]}={rows[0][1]}"[:MAX_RESOURCE_CHARS]
    return ""
