"""Who visits: a signed cookie in, the session (its form token and the person's name) out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

SESSION_COOKIE = "perfopt_session"
SESSION_S = 12 * 3600
_MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """One visitor; `actor` is empty until they have logged in, `csrf` must come back with every form."""

    key: str
    csrf: str
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence to show on the next page; `good` says whether what was asked for happened."""

    text: str
    good: bool


class SessionBook:
    """Signs and reads session cookies; who logged out stays out, though the cookie be kept."""

    def __init__(self, token: str) -> None:
        # From the login token, so that a new token ends every session and a restart none.
        key = hashlib.sha256(b"perfopt console session:" + token.encode()).hexdigest()
        self._signer = URLSafeTimedSerializer(key, salt="session", signer_kwargs={"digest_method": hashlib.sha256})
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._notes: OrderedDict[str, list[Note]] = OrderedDict()

    def begin(self, actor: str = "") -> Session:
        """Return a new session."""
        return Session(secrets.token_urlsafe(16), secrets.token_urlsafe(32), actor)

    def cookie(self, session: Session) -> str:
        """Return what to keep in the browser."""
        return str(self._signer.dumps([session.key, session.csrf, session.actor]))

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None where it is not ours, too old, or was ended."""
        try:
            key, csrf, actor = self._signer.loads(cookie, max_age=SESSION_S)
        except (BadSignature, ValueError, TypeError):
            return None
        return None if key in self._ended else Session(str(key), str(csrf), str(actor))

    def end(self, session: Session) -> None:
        """Let a session be no more."""
        self._ended[session.key] = None
        while len(self._ended) > _MOST_KEPT:
            self._ended.popitem(last=False)

    def note(self, session: Session, text: str, *, good: bool) -> None:
        """Keep a sentence for the visitor's next page."""
        self._notes.setdefault(session.key, []).append(Note(text, good))
        while len(self._notes) > _MOST_KEPT:
            self._notes.popitem(last=False)

    def take_notes(self, session: Session) -> tuple[Note, ...]:
        """Return the sentences kept for a visitor, each once."""
        return tuple(self._notes.pop(session.key, ()))


def same(given: str, wanted: str) -> bool:
    """Compare two secrets in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
