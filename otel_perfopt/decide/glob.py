"""Whether patterns include or meet each other: two glob patterns in, a yes or no without trying names out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

_ANY = "*"
_ONE = "?"


def covers(outer: str, inner: str) -> bool:
    """Tell whether every name that `inner` matches is surely matched by `outer`; unsure is no."""
    if "[" in outer or "[" in inner:
        return outer in {_ANY, inner}

    @cache
    def fits(i: int, j: int) -> bool:
        if i == len(outer):
            return j == len(inner)
        if outer[i] == _ANY:
            return fits(i + 1, j) or (j < len(inner) and fits(i, j + 1))
        if j == len(inner) or inner[j] == _ANY:
            return False
        return outer[i] in {_ONE, inner[j]} and fits(i + 1, j + 1)

    return fits(0, 0)


def covers_any(outers: Iterable[str], inner: str) -> bool:
    """Tell whether one of the patterns surely covers `inner`."""
    return any(covers(outer, inner) for outer in outers)


def meet(left: str, right: str) -> bool:
    """Tell whether some name may match both patterns; unsure is yes."""
    if "[" in left or "[" in right:
        return True

    @cache
    def fits(i: int, j: int) -> bool:
        if i == len(left) and j == len(right):
            return True
        if i < len(left) and left[i] == _ANY and (fits(i + 1, j) or (j < len(right) and fits(i, j + 1))):
            return True
        if j < len(right) and right[j] == _ANY and (fits(i, j + 1) or (i < len(left) and fits(i + 1, j))):
            return True
        if i == len(left) or j == len(right) or _ANY in {left[i], right[j]}:
            return False
        return (left[i] == right[j] or _ONE in {left[i], right[j]}) and fits(i + 1, j + 1)

    return fits(0, 0)


def lists_meet(left: Iterable[str], right: Iterable[str]) -> bool:
    """Tell whether two lists of patterns may speak of the same name; an empty list means any name."""
    lefts, rights = list(left), list(right)
    return not lefts or not rights or any(meet(one, other) for one in lefts for other in rights)
