"""Who a user is, without saying so: a user's id and a home folder's salt in, a short digest out."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

DIGEST_BYTES: Final = 8
SALT_BYTES: Final = 16
_DIGEST = re.compile(r"[0-9a-f]{16}", re.ASCII)


def user_digest(user_id: str, salt: str) -> str:
    """Return 16 hex digits that stand for the user under this salt (32 hex digits); empty without either.

    Keyed blake2b, so digests of one folder mean nothing in another. Whoever has the salt can still try
    out guessed ids.
    """
    key = _key(salt)
    if not user_id or key is None:
        return ""
    return blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=DIGEST_BYTES).hexdigest()


def is_user_digest(text: str) -> bool:
    """Tell whether `text` has the form of a digest."""
    return _DIGEST.fullmatch(text) is not None


def _key(salt: str) -> bytes | None:
    try:
        key = bytes.fromhex(salt)
    except (TypeError, ValueError):
        return None
    return key if len(key) == SALT_BYTES else None
