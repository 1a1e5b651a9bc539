"""Exceptions that come again whenever the call does: nothing in, their names out, which no policy may call passing."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Final

# What a program, its caller or its file system got wrong; a cancellation is meant, and to be honoured.
LASTING_ERRORS: Final[tuple[type[BaseException], ...]] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    CancelledError,
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    LookupError,
    MemoryError,
    NameError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
# Beside those: what would mean everything, what means their like, and what ends a program.
LASTING_NAMES: Final = frozenset(
    {kind.__name__ for kind in LASTING_ERRORS}
    | {"BaseException", "Exception", "OSError", "IOError", "EnvironmentError", "object"}
    | {"KeyError", "IndexError", "UnicodeError", "ModuleNotFoundError", "ZeroDivisionError", "OverflowError"}
    | {"KeyboardInterrupt", "SystemExit", "GeneratorExit", "StopIteration", "StopAsyncIteration"}
)
