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
_MAX_KNOWN_LEAVES = 1 << 13
_MAX_TOKEN_CHARS = 512
# Cycles are met by their depth: looking out for them costs half as much as all the rest.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr, check_circular=False
)
_SPACE = re.compile(r"\s")

# Agents and sessions use the same words, and the same short values, again and again; cleared when full.
_known: dict[str, tuple[str, ...]] = {}
_everyday: set[str] = set()
_leaves: dict[str, tuple[str, ...]] = {}


def content_digest(value: object) -> str:
    """Return 16 hex digits (blake2b) that are equal for equal content.

    Text and bytes are digested as they are, everything else as canonical JSON (sorted keys, no
    spaces), so key order and layout make no difference. What JSON cannot express is digested by
    its `repr`. Never raises.
    """
    return _digest(_canonical(value))


def digest_and_chars(value: object) -> tuple[str, int | None]:
    """Return the digest, and how long a list's or dict's JSON text is as it is usually written (with spaces).

    The length is None of anything else, and where the text would have to be written to know it.
    """
    canonical = _canonical(value)
    plain = type(value) in (dict, list) and b"\\" not in canonical
    return _digest(canonical), _usual_chars(canonical) if plain else None


def _digest(canonical: bytes) -> str:
    return blake2b(canonical, digest_size=CONTENT_DIGEST_BYTES).hexdigest()


def _usual_chars(canonical: bytes) -> int:
    # Without escapes every second piece between quotes is structure, where a space follows each sign.
    structure = b"".join(canonical.split(b'"')[::2])
    return len(canonical.decode("utf-8", "surrogatepass")) + structure.count(b",") + structure.count(b":")


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
    """Add the digests of every leaf in order, without recursion: cycles end at `MAX_LEAVES`."""
    held = _structure(value)
    if isinstance(held, str):
        return len(held) <= MAX_TEXT_CHARS and _add_words(held, found, limit)
    chars = seen = 0
    pending: list[Iterator[object]] = [iter((held,))]
    while pending:
        for item in pending[-1]:
            seen += 1
            if seen > MAX_LEAVES:
                return False
            # Exact types first: asking for the abstract ones costs more than all the rest.
            text = item if type(item) is str else _text(item)
            if text is None:
                pending.append(_items(item))
                break
            if text:
                chars += len(text)
                if chars > MAX_TEXT_CHARS or not _add_leaf(text, found, limit):
                    return False
        else:
            pending.pop()
    return True


def _add_leaf(text: str, found: dict[str, None], limit: int) -> bool:
    if len(text) > MAX_LEAF_CHARS:
        return _add_words(text, found, limit)
    digests = _leaves.get(text)
    if digests is None:
        if len(_leaves) >= _MAX_KNOWN_LEAVES:
            _leaves.clear()
        digests = _leaves[text] = _leaf_digests(text)
    if digests:
        found.update(dict.fromkeys(digests))
        return len(found) <= limit
    return True


def _leaf_digests(text: str) -> tuple[str, ...]:
    whole = (_short(text),) if is_specific_leaf(text) else ()
    words = set(text.split()) - _everyday
    return (*whole, *(digest for word in sorted(words) for digest in _known.get(word) or _remember(word)))


def _add_words(text: str, found: dict[str, None], limit: int) -> bool:
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


def _items(held: object) -> Iterator[object]:
    # A copy: what holds them may be changed meanwhile.
    if type(held) is list or type(held) is tuple:
        return iter(list(held))
    return iter(list(held.values()) if isinstance(held, Mapping) else list(held))  # type: ignore[call-overload]


def _text(item: object) -> str | None:
    """Return a leaf's text, empty where nothing of it counts; None for what holds others."""
    kind = type(item)
    if kind is dict or kind is list or kind is tuple:
        return None
    if item is None or kind is bool:
        return ""
    if isinstance(item, str):
        return item
    # The number itself: `str` of a member of an enumeration is its name on Python 3.10.
    if isinstance(item, int):
        return int.__repr__(item)
    if isinstance(item, float):
        return float.__repr__(item)
    return None if isinstance(item, (Mapping, list, tuple, set, frozenset)) else ""


def _canonical(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    try:
        text = _CANONICAL.encode(value)
    except Exception:  # a caller's own types may do anything, and the host must not feel it
        text = _description(value)
    return text.encode("utf-8", "surrogatepass")


def _description(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # as above
        return f"<{type(value).__name__}>"
