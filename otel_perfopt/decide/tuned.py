"""Several approved values of one parameter: a unit's id in, the value it has out; what agents are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

MOST_VALUES = 9
_SCALE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Tuned:
    """The values of a parameter (as the agent side names it) and the indices of those still tried."""

    parameter: str
    values: tuple[float | int, ...]
    left: tuple[int, ...]

    def index(self, salt: str, unit: str) -> int:
        """Return which value a unit has: one hash, the same at every call.

        A unit whose value is dropped goes over to one of those left; every other one keeps its own.
        """
        digest = blake2b(f"{salt}:value:{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / _SCALE * len(self.values)
        bucket = min(int(place), len(self.values) - 1)
        return bucket if bucket in self.left else self.left[int((place - bucket) * len(self.left)) % len(self.left)]

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> Tuned:
        """Read it from a snapshot.

        Raises:
            ValueError: it names no value, too many, or one that is no number or not there.
        """
        parameter, values, left = raw.get("parameter"), raw.get("values"), raw.get("left")
        if not (isinstance(parameter, str) and isinstance(values, (list, tuple)) and isinstance(left, (list, tuple))):
            raise ValueError("a tuned parameter has a name, values and which are left")  # noqa: TRY004 - one kind of error
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        indices = [index for index in left if isinstance(index, int) and 0 <= index < len(numbers)]
        if len(numbers) != len(values) or len(indices) != len(left) or not indices or len(numbers) > MOST_VALUES:
            raise ValueError("values are numbers, and at least one of them is left")
        return cls(parameter, tuple(numbers), tuple(indices))
