"""How a policy names people: words of YAML in, preferences and digests of users out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from otel_perfopt.decide.model_base import MOST_ITEMS, one_as_tuple
from otel_perfopt.signal.user_digest import is_user_digest

PreferenceWord = Literal["speed", "quality", "balanced", "cost"]
Preferences = Annotated[
    tuple[PreferenceWord, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=PreferenceWord | list[PreferenceWord]),
]


def _user_digest(text: str) -> str:
    if not is_user_digest(text):
        # The text itself may be a person's name: it is not repeated.
        raise ValueError("users are named by digest, 16 hex digits; perfopt preference USER prints it")
    return text


UserDigest = Annotated[
    str, AfterValidator(_user_digest), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{16}$"})
]
Users = Annotated[
    tuple[UserDigest, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=UserDigest | list[UserDigest]),
    Field(max_length=MOST_ITEMS),
]
