"""The base of every declared model: keys as YAML writes them in, frozen objects that refuse unknown keys out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

# Names become parts of span attribute keys and file names.
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
LONGEST_NAME = 63
LONGEST_TEXT = 500
LONGEST_GLOB = 200
MOST_ITEMS = 200


class DeclaredModel(BaseModel):
    """One mapping of a declared document; fields are camelCase in YAML and never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, strict=True, allow_inf_nan=False)


def as_tuple(value: object) -> object:
    """Return a list as a tuple, for the strict models; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def one_as_tuple(value: object) -> object:
    """Return one word as a tuple of it, a list as a tuple, anything else as it is."""
    return (value,) if isinstance(value, str) else as_tuple(value)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the name that was probably meant, else all there are."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}" if names else ""


Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST_NAME)]
Glob = Annotated[str, Field(min_length=1, max_length=LONGEST_GLOB)]


# A list of patterns may be written as one plain pattern.
Globs = Annotated[
    tuple[Glob, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=str | list[str]),
    Field(max_length=MOST_ITEMS),
]
