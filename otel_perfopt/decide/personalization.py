"""What agents are told of people: learned preferences by user digest and command in, what one user prefers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_perfopt.signal.preference import NO_PREFERENCE, PREFERENCES
from otel_perfopt.signal.user_digest import is_user_digest

# Of users and of pairs of user and command; a snapshot stays far below what agents read.
MAX_USERS: Final = 5000
MAX_COMMANDS: Final = 200
MAX_COMMAND_CHARS: Final = 200
_WORDS: Final = frozenset({*PREFERENCES, NO_PREFERENCE})


@dataclass(frozen=True, slots=True)
class Personalization:
    """Learned preferences, bounded; users stand as digests under `salt`.

    `users` is by digest, `user_commands` by digest and command where that differs, `commands` is for
    users of whom nothing is known. The word `none` says that a user's behaviour shows no preference.
    """

    salt: str = ""
    users: Mapping[str, str] = field(default_factory=dict)
    user_commands: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)

    def learned(self, user: str, command: str) -> str:
        """Return what a user (a digest, or empty) prefers at a command; empty where nothing was learned."""
        word = self.user_commands.get(user, _NONE).get(command) or self.users.get(user) or self.commands.get(command)
        return word if word is not None and word != NO_PREFERENCE else ""

    @classmethod
    def read(cls, raw: object) -> Personalization:
        """Read what a snapshot holds; whatever is no such thing is left out, so nobody is taken for somebody else."""
        if not isinstance(raw, Mapping):
            return NOTHING_PERSONAL
        salt = raw.get("salt")
        by_user = raw.get("user_commands")
        pairs = by_user.items() if isinstance(by_user, Mapping) else ()
        user_commands = {
            user: _words(found, MAX_COMMANDS)
            for user, found in list(pairs)[:MAX_USERS]
            if isinstance(user, str) and is_user_digest(user)
        }
        users = _words(raw.get("users"), MAX_USERS)
        return cls(
            salt=salt if isinstance(salt, str) else "",
            users={user: word for user, word in users.items() if is_user_digest(user)},
            user_commands={user: found for user, found in user_commands.items() if found},
            commands=_words(raw.get("commands"), MAX_COMMANDS),
        )


def _words(raw: object, most: int) -> dict[str, str]:
    pairs = list(raw.items())[:most] if isinstance(raw, Mapping) else []
    return {
        name: word
        for name, word in pairs
        if isinstance(name, str) and len(name) <= MAX_COMMAND_CHARS and isinstance(word, str) and word in _WORDS
    }


_NONE: Final[Mapping[str, str]] = {}
NOTHING_PERSONAL: Final = Personalization()
