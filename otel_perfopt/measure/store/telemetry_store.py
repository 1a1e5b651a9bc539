"""A store of spans: an address in, writing, reading and questions in SQL out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from typing_extensions import Self

from otel_perfopt.errors import NoTelemetryError, StoreError
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.append import Appended, Appender
from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.duplicates import settle
from otel_perfopt.measure.store.schema import create_tables, identifier
from otel_perfopt.measure.store.variant import TableVariant, table_variant
from otel_perfopt.measure.store.writers import writers
from otel_perfopt.signal.record import SpanRecord

# A star leaves promoted columns out.
_ONCE: Final = "(SELECT *{promoted} FROM {table} ORDER BY Duration DESC LIMIT 1 BY TraceId, SpanId)"


class TelemetryStore:
    """An open store. Use as a context manager, or `close` it; one thread writes at a time."""

    def __init__(self, connection: Connection, variant: TableVariant) -> None:
        self.connection = connection
        self.variant = variant
        self._appender: Appender | None = None

    @property
    def address(self) -> StoreAddress:
        """Where it is."""
        return self.connection.address

    @property
    def spans(self) -> str:
        """The SQL to select spans FROM: every span once, also while somebody writes or after a crash."""
        table = identifier(self.address.table)
        if self.variant.ours and writers(self.connection):
            promoted = "".join(f", {identifier(name)}" for name in sorted(self.variant.promoted))
            return _ONCE.format(table=table, promoted=promoted)
        return table

    def hot(self, name: str) -> str:
        """Return the SQL of one of `hot_columns.HOT_NAMES` on this table."""
        return self.variant.hot(name)

    def append(self, records: Iterable[SpanRecord], *, one_span_id: bool = False) -> Appended:
        """Write records (their attributes in our vocabulary), each span once; on disk when this returns.

        Raises:
            StoreError: not everything was written (the same records may be handed in again), or the
                table is a Collector's, which does its own writing.
        """
        if not self.variant.ours:
            raise StoreError(
                f"the table {self.address.table} in {self.address} is filled by a Collector and only read here; "
                "name a database of your own to import into"
            )
        if self._appender is None:
            self._appender = Appender(self.connection)
        return self._appender.append(records, one_span_id=one_span_id)

    def close(self) -> None:
        """Close; a second call does nothing."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(place: str | Path | StoreAddress, *, create: bool = True) -> TelemetryStore:
    """Open the store at a folder or URL.

    Args:
        place: a folder, `http[s]://user:password@host:port/database?table=otel_traces`, or either parsed.
        create: make the tables where there are none; otherwise their absence is an error.

    Raises:
        StoreBusyError: another process has the folder open.
        NoTelemetryError: there is no store and none is to be made.
        StoreError: it cannot be opened.
    """
    address = place if isinstance(place, StoreAddress) else StoreAddress.parse(str(place))
    if address.path is not None and not create and not (address.path / "store").is_dir():
        raise NoTelemetryError(f"there is no store in {address}; fill one: perfopt store import --store {address} PATH")
    connection = Connection(address)
    try:
        return _opened(connection, create=create)
    except BaseException:
        connection.close()
        raise


def _opened(connection: Connection, *, create: bool) -> TelemetryStore:
    variant = table_variant(connection)
    if variant is None:
        if not create:
            raise NoTelemetryError(f"there is no table {connection.address.table} in {connection.address}")
        create_tables(connection)
        variant = table_variant(connection)
    elif variant.ours:
        create_tables(connection)
    if variant is None:
        raise StoreError(f"the table {connection.address.table} in {connection.address} could not be made")
    if variant.ours:
        settle(connection)
    return TelemetryStore(connection, variant)
