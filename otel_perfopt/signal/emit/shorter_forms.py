"""How much shorter texts could be said, as whoever shortens them says: an instruction or a result in, characters out."""

from __future__ import annotations

from collections.abc import Callable

from otel_perfopt.signal.emit.faults import fault

MAX_CHARS = 1 << 18
# A text in; how many characters fewer say the same.
Saving = Callable[[str], int]

_of_instructions: Saving | None = None
_of_results: Saving | None = None


def shorten_with(instructions: Saving | None, results: Saving | None) -> None:
    """Ask these what instructions and results of tools could be shorter by; None: nobody is asked.

    Both are called by the thread that ends spans, off the request path.
    """
    global _of_instructions, _of_results
    _of_instructions, _of_results = instructions, results


def instructions_saving(text: str) -> int:
    """Return how many characters of instructions say again what they said; 0 where nobody knows."""
    return _asked(_of_instructions, text)


def result_saving(text: str) -> int:
    """Return how many characters shorter a tool's result could be, losing nothing; 0 where nobody knows."""
    return _asked(_of_results, text)


def _asked(saving: Saving | None, text: str) -> int:
    if saving is None or len(text) > MAX_CHARS:
        return 0
    try:
        return max(0, saving(text))
    except Exception as error:
        fault("shorter form", error)
        return 0
