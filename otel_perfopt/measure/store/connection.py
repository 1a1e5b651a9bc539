"""One way to ask ClickHouse, in this process or over the network: an address in, rows for bound SQL out."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_perfopt.errors import StoreError
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.after_fork import disarm_in_children
from otel_perfopt.measure.store.holder import hold, release

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
_NO_PARAMETERS: Final[Parameters] = {}
_FIRST_LINE: Final = 400
_UNREACHABLE: Final = re.compile(r"HTTPS?Connection.*\[Errno -?\d+\] ([^\"')]+)")
# Sorting and grouping go to disk beyond this, so that a big store is read in a small process.
_SPILL_BYTES: Final = 512 << 20
_SETTINGS: Final = {
    "max_partitions_per_insert_block": 0,
    "max_bytes_before_external_group_by": _SPILL_BYTES,
    "max_bytes_before_external_sort": _SPILL_BYTES,
    "lightweight_deletes_sync": 2,
    "mutations_sync": 2,
}


class Connection:
    """A ClickHouse client of this process; values are only ever bound (`{name:Type}`), never put into SQL.

    Safe for threads: one statement at a time. In a forked child every call raises `StoreError`, since
    the engine does not survive a fork.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._closed = False
        self.writer_names: set[str] = set()
        if address.path is not None:
            hold(address.path)
            disarm_in_children()
        try:
            self._client = _client(address)
        except BaseException:
            if address.path is not None:
                release(address.path)
            raise

    def rows(self, sql: str, parameters: Parameters = _NO_PARAMETERS) -> Sequence[Row]:
        """Return the rows of a query.

        Raises:
            StoreError: the engine refused it, or cannot be reached; the first line of its reason.
        """
        with self._lock:
            try:
                return self._usable().query(sql, parameters=dict(parameters)).result_rows  # type: ignore[no-any-return]
            except _client_errors() as error:
                raise _store_error(self.address, error) from error

    def columns(self, sql: str, parameters: Parameters = _NO_PARAMETERS) -> Mapping[str, Sequence[Any]]:
        """Return a query's result by column name."""
        with self._lock:
            try:
                result = self._usable().query(sql, parameters=dict(parameters), column_oriented=True)
            except _client_errors() as error:
                raise _store_error(self.address, error) from error
            found = result.result_set or [()] * len(result.column_names)
            return dict(zip(result.column_names, found, strict=True))

    def run(self, sql: str, parameters: Parameters = _NO_PARAMETERS) -> None:
        """Run a statement that returns nothing."""
        with self._lock:
            try:
                self._usable().command(sql, parameters=dict(parameters))
            except _client_errors() as error:
                raise _store_error(self.address, error) from error

    def raw(self, sql: str, output_format: str, parameters: Parameters = _NO_PARAMETERS) -> bytes:
        """Return a query's result in one of ClickHouse's formats (`Parquet`)."""
        with self._lock:
            try:
                client = self._usable()
                return client.raw_query(sql, parameters=dict(parameters), fmt=output_format)  # type: ignore[no-any-return]
            except _client_errors() as error:
                raise _store_error(self.address, error) from error

    def insert(self, table: str, columns: Sequence[str], lines: bytes) -> None:
        """Insert `lines`, each a JSON array with one value a column."""
        with self._lock:
            try:
                self._usable().raw_insert(table, list(columns), lines, fmt="JSONCompactEachRow")
            except _client_errors() as error:
                raise _store_error(self.address, error) from error

    def exclusive(self) -> threading.RLock:
        """Return the lock that holds several statements together in this process."""
        return self._lock

    def close(self) -> None:
        """Close; a second call does nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        self._client.close()
        if self.address.path is not None:
            release(self.address.path)

    def _usable(self) -> Any:
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self.address} was opened before this process was forked; open it in one process only, "
                "and hand spans, not the store, to workers"
            )
        if self._closed:
            raise StoreError(f"the store {self.address} is closed")
        return self._client


def _client(address: StoreAddress) -> Any:
    # Here, so that naming a store costs nothing where none is opened.
    import clickhouse_connect  # noqa: PLC0415

    try:
        if address.path is not None:
            return clickhouse_connect.get_client(interface="chdb", path=str(address.path), settings=dict(_SETTINGS))
        return clickhouse_connect.get_client(
            host=address.host,
            port=address.port or (8443 if address.secure else 8123),
            username=address.user or None,
            password=address.password,
            database=address.database or None,
            secure=address.secure,
            settings=dict(_SETTINGS),
        )
    except _client_errors() as error:
        raise _store_error(address, error) from error


def _client_errors() -> tuple[type[Exception], ...]:
    from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415

    return (ClickHouseError, OSError, RuntimeError)


def _store_error(address: StoreAddress, error: Exception) -> StoreError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # The driver wraps a refused connection in three layers of its own words.
    refused = _UNREACHABLE.search(lines[0])
    if refused is not None:
        return StoreError(f"the store {address} cannot be reached: {refused.group(1)}")
    return StoreError(f"the store {address}: {lines[0][:_FIRST_LINE]}")
