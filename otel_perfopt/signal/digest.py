"""Content in, digests out: what identifies a value, and which specific values it is made of, without holding it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b

from otel_perfopt.signal.specific import TOKEN, is_specific_leaf, specific_values

CONTENT_DIGEST_BYTES = 8
FLOW_DIGEST_BYTES = 4
MAX_LEAVES = 20_000
MAX_LEAF_CHARS = 64
MAX_TEXT_CHARS = 1 << 20
_CHUNK_CHARS = 1 << 16
_MAX_KNOWN_WORDS = 1 << 15
_MAX_TOKEN_CHARS = 512
_SPACE = re.compile(r"\s")

# Agents and sessions use the same words again and again; cleared when full.
_known: dict[str, tuple[str, ...]] = {}
_everyday: set[str] = set()


def content_digest(value: object) -> str:
    """Return 16 hex digits (blake2b) that are equal for equal content.

    Text and bytes are digested as they are, everything else as canonical JSON (sorted keys, no
    spaces), so key order and layout make no difference. What JSON cannot express is digested by
    its `repr`. Never raises.
    """
    return blake2b(_canonical(value), digest_size=CONTENT_DIGEST_BYTES).hexdigest()


def flow_values(value: object, limit: int) -> tuple[frozenset[str], bool]:
    """Return digests (8 hex digits) of the specific values in `value`, and whether some were left out.

    The question they answer: does the argument of one call hold a value that first appeared in the
    result of an earlier one? So a value counts only if it could hardly have come from anywhere
    else, and arguments and results are taken apart by one rule:

    - A short leaf of a structure counts whole when it is a name or a phrase (`"Mia Li"`,
      `"Seattle"`), not when it is one plain lower-case word (`"economy"` may come from anywhere).
    - Text, in a leaf or alone, gives its specific tokens only: ids that mix letters and digits,
      snake_case, camelCase, acronyms and file names that are not everyday ones, e-mail addresses,
      dates, numbers with three or more significant digits that are no year, and paths. A path also
      gives its last two parts and its file name, because one tool says `cli/setup.go` where another
      says `/home/me/cli/setup.go`.
    - Plain words, keys of objects, booleans and round numbers never count: a result holds thousands
      of words, and an argument of free text (a shell command, a prompt) would depend on all of them.

    A shared value means data *may* have flowed. The reader must leave out what was known before the
    earlier result: values of the prompt, and of earlier arguments and results. With a cut list
    (more than `limit` values, 20,000 leaves or 1 MiB of text) independence cannot be claimed; the
    values kept are those of the first leaves. At 32 bits a value, 20 values meet 2,000 by chance once in
    100,000 times. Text that is JSON is read as the structure it is. Never raises.
    """
    values, cut = flow_list(value, limit)
    return frozenset(values), cut


def flow_list(value: object, limit: int) -> tuple[tuple[str, ...], bool]:
    """Return what `flow_values` does, in a fixed order, as span attributes need it."""
    found: dict[str, None] = {}
    try:
        complete = _collect(value, found, limit)
    except Exception:  # a caller's own types may do anything, and the host must not feel it
        complete = False
    return tuple(found)[:limit], not complete


def _collect(value: object, found: dict[str, None], limit: int) -> bool:
    chars = 0
    for leaves, leaf in enumerate(_leaves(_structure(value))):
        chars += len(leaf.text)
        if leaves >= MAX_LEAVES or chars > MAX_TEXT_CHARS or not _add_values(leaf, found, limit):
            return False
    return True


class _Leaf:
    __slots__ = ("alone", "text")

    def __init__(self, text: str, *, alone: bool) -> None:
        self.text = text
        self.alone = alone


def _add_values(leaf: _Leaf, found: dict[str, None], limit: int) -> bool:
    text = leaf.text
    if not leaf.alone and len(text) <= MAX_LEAF_CHARS and is_specific_leaf(text):
        found[_short(text)] = None
    for words in _words(text):
        # Sets do the bulk of it in C: most words are known to hold nothing.
        for word in sorted(words - _everyday):
            for digest in _known.get(word) or _remember(word):
                found[digest] = None
        if len(found) > limit:
            return False
    return True


def _words(text: str) -> Iterator[set[str]]:
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > _CHUNK_CHARS:
            space = _SPACE.search(text, start + _CHUNK_CHARS)
            end = space.start() if space else end
        yield set(text[start:end].split())
        start = end


def _remember(word: str) -> tuple[str, ...]:
    # A "token" of hundreds of characters is encoded data, nobody's argument.
    tokens = (token for token in TOKEN.findall(word) if len(token) <= _MAX_TOKEN_CHARS)
    digests = tuple(_short(value) for token in tokens for value in specific_values(token))
    if len(word) > _MAX_TOKEN_CHARS:
        return digests
    if digests:
        if len(_known) >= _MAX_KNOWN_WORDS:
            _known.clear()
        _known[word] = digests
    else:
        if len(_everyday) >= _MAX_KNOWN_WORDS:
            _everyday.clear()
        _everyday.add(word)
    return digests


def _short(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=FLOW_DIGEST_BYTES).hexdigest()


def _structure(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("{", "[") and len(value) <= MAX_TEXT_CHARS:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _leaves(value: object) -> Iterator[_Leaf]:
    """Yield the scalars of a structure in order, without recursion: cycles end at `MAX_LEAVES`."""
    if isinstance(value, str):
        yield _Leaf(value, alone=True)
        return
    pending: list[Iterator[object]] = [iter((value,))]
    while pending:
        for item in pending[-1]:
            if isinstance(item, Mapping):
                pending.append(iter(list(item.values())))
            elif isinstance(item, (list, tuple, set, frozenset)):
                pending.append(iter(list(item)))
            else:
                yield _Leaf(_text(item), alone=False)
                continue
            yield _Leaf("", alone=True)
            break
        else:
            pending.pop()


def _text(item: object) -> str:
    if isinstance(item, str):
        return item
    if item is None or isinstance(item, bool):
        return ""
    # The number itself: `str` of a member of an enumeration is its name on Python 3.10.
    if isinstance(item, int):
        return int.__repr__(item)
    return float.__repr__(item) if isinstance(item, float) else ""


def _canonical(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)
    except Exception:  # a caller's own types may do anything, and the host must not feel it
        text = _description(value)
    return text.encode("utf-8", "surrogatepass")


def _description(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # as above
        return f"<{type(value).__name__}>"
