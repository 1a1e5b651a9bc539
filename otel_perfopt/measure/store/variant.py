"""Which of the exporter's tables a store has: the engine's catalogue in, a `TableVariant` out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from otel_perfopt.errors import StoreError
from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.hot_columns import HOT_COLUMNS, HOT_NAMES, any_dialect_expression
from otel_perfopt.measure.store.schema import OURS, SPAN_COLUMNS, identifier, map_attribute

_ITEMS = "SpanAttributeItems"


class TableKind(str, Enum):
    """Who made the table, and with what attributes."""

    OURS = "ours"
    EXPORTER_MAP = "exporter, attribute maps"
    EXPORTER_ITEMS = "exporter, attribute maps with items for full-text search"
    EXPORTER_JSON = "exporter, JSON attributes"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class TableVariant:
    """How a table is asked: `hot(name)` and `attribute(name)` are the SQL for a field on this table."""

    kind: TableKind
    promoted: frozenset[str] = frozenset()

    @property
    def ours(self) -> bool:
        """Whether this package made the table, so that it may write to it."""
        return self.kind is TableKind.OURS

    @property
    def json(self) -> bool:
        """Whether attributes are of the JSON type."""
        return self.kind is TableKind.EXPORTER_JSON

    def attribute(self, name: str) -> str:
        """Return the SQL of a span attribute as text; empty where it is not stated. `name` is never telemetry's."""
        if self.json:
            return f"ifNull(toString(SpanAttributes.{identifier(name)}), '')"
        return map_attribute(name)

    def hot(self, name: str) -> str:
        """Return the SQL of a field of `HOT_COLUMNS`: its promoted column, else the expression over attributes."""
        if name in self.promoted:
            return identifier(name)
        return any_dialect_expression(HOT_COLUMNS[HOT_NAMES.index(name)], self.attribute)


def table_variant(connection: Connection) -> TableVariant | None:
    """Recognise the table of spans; None where there is none.

    Raises:
        StoreError: a table of that name lacks columns that every exporter version writes.
    """
    table = connection.address.table
    found = connection.rows(
        "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = {t:String}",
        {"t": table},
    )
    if not found:
        return None
    types = {str(name): str(kind) for name, kind, _ in found}
    missing = [name for name in SPAN_COLUMNS if name not in types]
    if missing:
        raise StoreError(
            f"the table {table} in {connection.address} is no table of the Collector's ClickHouse exporter: "
            f"no column {', '.join(missing[:5])}"
        )
    promoted = frozenset(str(name) for name, _, default in found if default == "MATERIALIZED" and name in HOT_NAMES)
    return TableVariant(_kind(connection, table, types), promoted)


def _kind(connection: Connection, table: str, types: dict[str, str]) -> TableKind:
    comment = connection.rows(
        "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {t:String}", {"t": table}
    )
    if comment and comment[0][0] == OURS:
        return TableKind.OURS
    if types["SpanAttributes"].startswith("JSON"):
        return TableKind.EXPORTER_JSON
    return TableKind.EXPORTER_ITEMS if _ITEMS in types else TableKind.EXPORTER_MAP
