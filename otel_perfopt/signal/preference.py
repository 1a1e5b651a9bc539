"""What a user would rather have: any stated value in, one of a few words (or none) out."""

from __future__ import annotations

from typing import Final

SPEED: Final = "speed"
QUALITY: Final = "quality"
BALANCED: Final = "balanced"
COST: Final = "cost"
PREFERENCES: Final = (SPEED, QUALITY, BALANCED, COST)
# It has been looked for and there is none; also what a controller publishes where behaviour shows none.
NO_PREFERENCE: Final = "none"

# How a run came to its preference. Only what a user stated is evidence of what that user prefers.
STATED: Final = "stated"
ENVIRONMENT: Final = "environment"
LEARNED: Final = "learned"
SOURCES: Final = (STATED, ENVIRONMENT, LEARNED)

_LONGEST: Final = 32


def known_preference(value: object) -> str:
    """Return the preference that a text names, whatever its case; empty for anything else, which counts as not stated."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return ""
    word = value.strip().lower()
    return word if word in PREFERENCES else ""
