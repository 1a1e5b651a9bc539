"""Where a store is: a folder's path or a server's URL in, a `StoreAddress` out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_perfopt.errors import StoreError

TABLE: Final = "otel_traces"
_SECURE_SCHEMES: Final = frozenset({"https", "clickhouses", "clickhouse+https"})
_PLAIN_SCHEMES: Final = frozenset({"http", "clickhouse", "clickhouse+http"})
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """An embedded store (`path`) or a ClickHouse server (`host`); `str()` never shows the password."""

    path: Path | None = None
    host: str = ""
    port: int | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    table: str = TABLE
    secure: bool = False

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """Read a path, or `http[s]://user:password@host:port/database?table=otel_traces`.

        Raises:
            StoreError: it is neither; the message says what is understood.
        """
        if "://" not in text:
            return cls(path=Path(text).expanduser())
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise StoreError(f"the store's address cannot be read: {error}") from None
        if parts.scheme not in _SECURE_SCHEMES | _PLAIN_SCHEMES or not parts.hostname:
            raise StoreError(
                f"a store is a folder, or http://user:password@host:8123/database; {parts.scheme}://… is neither"
            )
        more = dict(parse_qsl(parts.query))
        return cls(
            host=parts.hostname,
            port=port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=_identifier(unquote(parts.path.strip("/")), "database") if parts.path.strip("/") else "",
            table=_identifier(more.get("table", TABLE), "table"),
            secure=parts.scheme in _SECURE_SCHEMES,
        )

    @property
    def embedded(self) -> bool:
        """Whether the engine runs in this process."""
        return self.path is not None

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        port = f":{self.port}" if self.port else ""
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{self.host}{port}/{self.database}"


def _identifier(text: str, what: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise StoreError(f"{text!r} is no name of a {what}: letters, digits and underscores")
    return text
