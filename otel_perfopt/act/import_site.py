"""Where an import stands in the code that makes it: a frame in, whether what it imports may wait until it is used out."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

_OPCODES: Final = dis.opmap
_IMPORT_NAME: Final = _OPCODES["IMPORT_NAME"]
_IMPORT_FROM: Final = _OPCODES["IMPORT_FROM"]
_STORE_NAME: Final = _OPCODES["STORE_NAME"]
_EXTENDED_ARG: Final = _OPCODES["EXTENDED_ARG"]
# What the compiler puts between an import and the storing of its names.
_BETWEEN: Final = frozenset(
    _OPCODES[name]
    for name in ("POP_TOP", "SWAP", "COPY", "ROT_TWO", "ROT_THREE", "DUP_TOP", "NOP", "CACHE")
    if name in _OPCODES
)
# Before 3.11 a block begins with an instruction; since then a table says which instructions one holds.
_BLOCK_BEGINS: Final = frozenset(
    _OPCODES[name] for name in ("SETUP_FINALLY", "SETUP_WITH", "SETUP_ASYNC_WITH") if name in _OPCODES
)
_IMPORT_SYSTEM: Final = ("<frozen importlib", "importlib._bootstrap")
_DEEPEST: Final = 40
_NESTED: Final = 12


def importing_frame(depth: int = 1, beyond: str = __file__) -> FrameType | None:
    """Return the frame whose import statement is being carried out above `depth`; None for an import by other means.

    Frames of the file `beyond`, and of the import system, stand between.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the import system says nowhere who asked
    for _ in range(_DEEPEST):
        if frame is None:
            return None
        file = frame.f_code.co_filename
        if not (file in {__file__, beyond} or any(word in file for word in _IMPORT_SYSTEM)):
            break
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_code[_instruction(frame)] == _IMPORT_NAME else None


def may_wait(frame: FrameType, module: str) -> bool:
    """Tell whether nobody will miss `module` before its name is first used.

    So it is where a statement at the top of a module, in no `try` or `with`, names the module itself and
    not something inside it, and some function or class of that file uses the name. An import whose name
    nobody uses is there for what it does; one inside `try` is there to see it fail.
    """
    code, at = frame.f_code, _instruction(frame)
    if code.co_name != "<module>" or _in_block(code, at):
        return False
    taken, bound = _names_after(code, at)
    meant = module.rpartition(".")[2] in taken if taken else module == _imported(code, at)
    return meant and bool(bound) and _used_inside(code, frozenset(bound), _NESTED)


def _instruction(frame: FrameType) -> int:
    """Return where the instruction under way is; 3.10 points at the first part of its argument."""
    raw, at = frame.f_code.co_code, max(0, frame.f_lasti)
    while raw[at] == _EXTENDED_ARG and at + 2 < len(raw):
        at += 2
    return at


def _argument(code: CodeType, at: int) -> int:
    raw, argument, shift, before = code.co_code, code.co_code[at + 1], 8, at - 2
    while before >= 0 and raw[before] == _EXTENDED_ARG and shift <= 24:
        argument |= raw[before + 1] << shift
        shift, before = shift + 8, before - 2
    return argument


def _imported(code: CodeType, at: int) -> str:
    return _name(code, _argument(code, at))


def _name(code: CodeType, index: int) -> str:
    return code.co_names[index] if index < len(code.co_names) else ""


def _names_after(code: CodeType, at: int) -> tuple[set[str], set[str]]:
    """Return what an import takes out of the module, and the names it binds."""
    raw, taken, bound = code.co_code, set[str](), set[str]()
    for place in range(at + 2, len(raw), 2):
        op = raw[place]
        if op == _IMPORT_FROM:
            taken.add(_name(code, _argument(code, place)))
        elif op == _STORE_NAME:
            bound.add(_name(code, _argument(code, place)))
        elif op != _EXTENDED_ARG and op not in _BETWEEN:
            break
    return taken, bound


def _in_block(code: CodeType, at: int) -> bool:
    table = getattr(code, "co_exceptiontable", None)
    if table is not None:
        return any(begin <= at < end for begin, end in _protected(table))
    raw = code.co_code
    return any(raw[place] in _BLOCK_BEGINS and place + 2 + 2 * _argument(code, place) > at for place in range(0, at, 2))


def _protected(table: bytes) -> Iterator[tuple[int, int]]:
    """Yield the stretches of code (in bytes) that an exception table protects.

    Entries are four numbers of six bits a byte (start, length, handler, depth), as
    Objects/exception_handling_notes.txt of CPython 3.11 describes.
    """
    numbers: list[int] = []
    value = 0
    for byte in table:
        if byte & 0x80 and numbers:
            numbers.clear()
        value = value << 6 | byte & 0x3F
        if not byte & 0x40:
            numbers.append(value)
            value = 0
        if len(numbers) == 4:
            yield 2 * numbers[0], 2 * (numbers[0] + numbers[1])
            numbers.clear()


def _used_inside(code: CodeType, names: frozenset[str], depth: int) -> bool:
    inner = [item for item in code.co_consts if isinstance(item, CodeType)]
    return any(not names.isdisjoint(item.co_names) for item in inner) or (
        depth > 0 and any(_used_inside(item, names, depth - 1) for item in inner)
    )
