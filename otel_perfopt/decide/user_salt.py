"""The salt under which a home folder tells its users apart: a folder in, 32 hex digits out; kept in one private file."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from otel_perfopt.decide.durable_file import sync_folder
from otel_perfopt.signal.user_digest import SALT_BYTES, user_digest

SALT_FILE = "user-salt"
_MOST_CHARS = 200


def user_salt(home: Path) -> str:
    """Return the folder's salt; empty where it has none that can be read, and then nobody is told apart."""
    try:
        with (home / SALT_FILE).open(encoding="ascii") as stream:
            text = stream.read(_MOST_CHARS).strip()
    except (OSError, ValueError):
        return ""
    return text if user_digest("anybody", text) else ""


def make_user_salt(home: Path) -> str:
    """Return the folder's salt, drawn and written (mode 0600) if there is none yet; of two who write, the first wins.

    Raises:
        OSError: it cannot be written.
    """
    known = user_salt(home)
    if known:
        return known
    home.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{SALT_FILE}.", suffix=".tmp", dir=home)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(SALT_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(name, home / SALT_FILE)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(home)
    return user_salt(home)
