"""Text in, its specific values out: the words that could hardly have come from anywhere else."""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = re.compile(r"[\w/~.@+\-]{3,}")
_PADDING: Final = "/.~-+@"
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_MEASURE: Final = re.compile(r"\d+(?:\.\d+)?(?:ns|us|ms|s|m|h|d|x|k|kb|mb|gb|px|em|th|st|nd|rd)", re.IGNORECASE)
_CAMEL: Final = re.compile(r"[a-z][A-Z]")
_SNAKE: Final = re.compile(r"[A-Za-z0-9]_[A-Za-z0-9]")
_FILE: Final = re.compile(r"\w[\w\-.]*\.[A-Za-z]\w{0,9}")

# Everyday tokens that have the shape of an id; lower case.
_EVERYDAY_WORDS: Final = """
    aka all and any api app are asc ascii avg aws base64 bool but cli cpu css csv dd del desc dev diff div dns
    dom done eof err error eta etc exit ext fail failed false faq fatal for ftp fyi get git github gmt got gpu
    gui had has have head help html html5 http https icmp ide imo info int int32 int64 int8 internal ios ip4
    ipv4 ipv6 iso javascript json jsonl jwt lan license linux log macos main make max md5 min mit new nfs nil
    not note null num oauth ok ok1 one only oop openai orm out pass passed patch pdf php png posix post put
    python3 ram rate readme readonly regex rest rgb rpc rsa run saas sdk see set sha1 sha256 skip sql ssh ssl
    stderr stdin stdout str string svg tbd tcp the this tls todo toml true tsv tty two typescript ubuntu udp
    uint32 uint64 uint8 url use user utc utf utf-16 utf-8 utf16 utf8 uuid var void vpn wan want warn warning web
    x64 x86 xml yaml yes you youtube zip
"""
_EVERYDAY: Final = frozenset(_EVERYDAY_WORDS.split())
_EVERYDAY_FILES_WORDS: Final = """
    __init__.py __main__.py cargo.toml changelog.md conftest.py e.g etc. go.mod go.sum i.e index.html index.js
    index.ts index.tsx license.txt main.go main.py main.rs mod.rs next.js node.js package-lock.json package.json
    pyproject.toml readme.md readme.rst requirements.txt settings.json setup.cfg setup.py tsconfig.json vue.js
"""
_EVERYDAY_FILES: Final = frozenset(_EVERYDAY_FILES_WORDS.split())


def specific_values(token: str) -> tuple[str, ...]:
    """Return the specific values in one token of text (see `TOKEN`); most tokens have none, a path up to three."""
    word = token.strip(_PADDING)
    if "/" in word:
        return _path_values(token, word)
    if "@" in word:
        return (word.lower(),) if "." in word.rpartition("@")[2] else ()
    return (word,) if _is_specific(word) else ()


def is_specific_leaf(text: str) -> bool:
    """Tell whether a whole leaf of a structure counts: a name or phrase, not one plain lower-case word."""
    if len(text) < 3 or "\n" in text:
        return False
    if " " in text:
        return True
    return text.isalpha() and not text.islower() and text.lower() not in _EVERYDAY


def _path_values(token: str, word: str) -> tuple[str, ...]:
    parts = [part for part in word.split("/") if part not in ("", ".", "..")]
    if len(parts) < 2:
        return (parts[0],) if parts and _is_specific(parts[0]) else ()
    anchored = token[0] in "/~."
    # "and/or" and "client/server" are no paths.
    if not (anchored or len(parts) > 2 or any(_is_specific(part) for part in parts)):
        return ()
    values = {"/".join(parts): None, "/".join(parts[-2:]): None}
    if _is_specific(parts[-1]):
        values[parts[-1]] = None
    return tuple(values)


def _is_specific(word: str) -> bool:
    if len(word) < 3 or word.isalpha():
        return _is_acronym(word) or _is_camel(word)
    lowered = word.lower()
    if lowered in _EVERYDAY or lowered in _EVERYDAY_FILES or _MEASURE.fullmatch(word):
        return False
    digits = sum(map(str.isdigit, word))
    if not any(map(str.isalpha, word)):
        return _is_specific_number(word, digits)
    return digits > 0 or _SNAKE.search(word) is not None or _is_camel(word) or _FILE.fullmatch(word) is not None


def _is_acronym(word: str) -> bool:
    return 3 <= len(word) <= 12 and word.isupper() and word.lower() not in _EVERYDAY


def _is_camel(word: str) -> bool:
    return _CAMEL.search(word) is not None and word.lower() not in _EVERYDAY


def _is_specific_number(word: str, digits: int) -> bool:
    if not _NUMBER.fullmatch(word):
        return digits >= 5
    whole = "." not in word
    if whole and len(word) == 4 and word[:2] in ("19", "20"):
        return False
    significant = word.replace(".", "").lstrip("0")
    return len(significant.rstrip("0") if whole else significant) >= 3
