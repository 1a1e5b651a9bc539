"""The token that people log in with: a home folder in, the token kept there (made when absent) out."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from otel_perfopt.errors import PerfoptError

TOKEN_FILE = "console-token"  # noqa: S105 - a file's name
_SHORTEST = 16


def login_token(home: Path) -> str:
    """Return the token in `<home>/console-token`, making it (readable by its owner only) when there is none.

    Raises:
        PerfoptError: it cannot be read or made, others may read it, or it is too short to be a secret.
    """
    path = home / TOKEN_FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        open_to = path.stat().st_mode & 0o077 if os.name == "posix" else 0
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise PerfoptError(f"cannot keep the console's token in {path}: {error}") from error
    if open_to:
        raise PerfoptError(f"others may read {path}; do: chmod 600 {path}")
    if len(token) < _SHORTEST:
        raise PerfoptError(f"the token in {path} is shorter than {_SHORTEST} characters; remove the file for a new one")
    return token


def _make(path: Path) -> None:
    # Made as its owner's alone from the first moment; two consoles that start at once keep one token.
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
