"""Titles and queries in, Grafana panels out: one function a kind of panel, so that all of a kind look alike."""

from __future__ import annotations

# ruff: noqa: FBT003 - the builders take flags by position
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphGradientMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TableCellHeight,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import Dataquery, PromQueryFormat

DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
FULL = 24
Link = tuple[str, str]
# Their builders have the same methods, and no base that says so.
_P = TypeVar("_P", bound=Any)


class Query(NamedTuple):
    """One query: its expression, how its series are called, and whether single runs are shown as exemplars."""

    expr: str
    legend: str = ""
    exemplar: bool = False


class Column(NamedTuple):
    """One column of a table: the query that fills it, its title, and how its values are shown."""

    expr: str
    title: str
    unit: str = "short"
    codes: Mapping[int, tuple[str, str]] | None = None
    decimals: int | None = None


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    links: Sequence[Link] = (),
    least: float | None = 0.0,
) -> timeseries.Panel:
    """Return lines over time."""
    panel = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(25 if stacked else 8)
        .gradient_mode(GraphGradientMode.OPACITY)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "lastNotNull"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if least is not None:
        panel.axis_soft_min(least)
    if links:
        panel.data_links([_link(one) for one in links])
    return _filled(panel, title, description, unit, queries, width=width, height=height)


def numbers(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    height: int = 4,
    units: Mapping[str, str] | None = None,
    steps: Sequence[tuple[float | None, str]] = ((None, "text"),),
    codes: Mapping[int, tuple[str, str]] | None = None,
    decimals: int | None = None,
    spark: bool = False,
) -> stat.Panel:
    """Return large numbers; `units` are those of single series, by legend; `steps` colour from a value upwards."""
    panel = (
        stat.Panel()
        .orientation(VizOrientation.VERTICAL if len(queries) == 1 else VizOrientation.HORIZONTAL)
        .text_mode(BigValueTextMode.VALUE if len(queries) == 1 else BigValueTextMode.VALUE_AND_NAME)
        .graph_mode(BigValueGraphMode.AREA if spark else BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .no_value("no data yet")
    )
    if decimals is not None:
        panel.decimals(decimals)
    if codes:
        panel.mappings([_value_map(codes)])
    for name, own in (units or {}).items():
        panel.override_by_name(name, [_value("unit", own)])
    return _filled(panel, title, description, unit, queries, width=width, height=height)


def bars(title: str, description: str, unit: str, *queries: Query, width: int = 12, height: int = 8) -> bargauge.Panel:
    """Return one bar a series, with its last value."""
    panel = (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.GRADIENT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_BL_YL_RD))
        .min(0)
    )
    return _filled(panel, title, description, unit, queries, width=width, height=height, instant=True)


def spread(title: str, description: str, unit: str, query: Query, *, width: int = 12, height: int = 8) -> heatmap.Panel:
    """Return a native histogram over time: how many values were how large."""
    panel = heatmap.Panel().y_axis(heatmap.YAxisConfig().unit(unit))
    filled = _filled(panel, title, description, unit, (query,), width=width, height=height)
    for target in filled.build().targets or ():
        if isinstance(target, Dataquery):
            target.format_val = PromQueryFormat.HEATMAP
    return filled


def timeline(
    title: str,
    description: str,
    codes: Mapping[int, tuple[str, str]],
    *queries: Query,
    width: int = 24,
    height: int = 7,
) -> statetimeline.Panel:
    """Return states over time, in the words and colours of their codes."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .mappings([_value_map(codes)])
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(False)
        )
    )
    return _filled(panel, title, description, "short", queries, width=width, height=height)


def rows(
    title: str,
    description: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    *,
    width: int = FULL,
    height: int = 8,
    sort_by: str = "",
    descending: bool = False,
    links: Sequence[Link] = (),
) -> table.Panel:
    """Return one row for each value of the labels in `keys` (label to title), a column a query."""
    panel = table.Panel().show_header(True).cell_height(TableCellHeight.MD)
    queries = [Query(column.expr) for column in columns]
    names = [f"Value #{letter}" for letter in string.ascii_uppercase[: len(columns)]]
    titles = dict(zip(names, (column.title for column in columns), strict=True))
    order = [*keys, *names]
    panel.transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {name: place for place, name in enumerate(order)},
                    "renameByName": {**keys, **titles},
                },
            ),
        ]
    )
    for column in columns:
        panel.override_by_name(column.title, _column_style(column))
    if links:
        shown = [{"title": name, "url": url, "targetBlank": False} for name, url in links]
        panel.override_by_name(next(iter(keys.values())), [_value("links", shown)])
    if sort_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(descending)])
    return _filled(panel, title, description, "short", queries, width=width, height=height, instant=True, as_table=True)


def _column_style(column: Column) -> list[DynamicConfigValue]:
    style = [_value("unit", column.unit)]
    if column.decimals is not None:
        style.append(_value("decimals", column.decimals))
    if column.codes:
        style.append(_value("mappings", [_value_map(column.codes)]))
        style.append(_value("custom.cellOptions", {"type": "color-text"}))
    return style


def _filled(
    panel: _P,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int,
    height: int,
    instant: bool = False,
    as_table: bool = False,
) -> _P:
    panel.title(title).description(description).datasource(DATA_SOURCE).span(width).height(height).unit(unit)
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend or "__auto")
        target.exemplar(query.exemplar).datasource(DATA_SOURCE)
        target = target.instant() if instant else target.range()
        if as_table:
            target = target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> ThresholdsConfig:
    found = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _value_map(codes: Mapping[int, tuple[str, str]]) -> ValueMap:
    return ValueMap(
        options={
            str(code): ValueMappingResult(text=text, color=color, index=place)
            for place, (code, (text, color)) in enumerate(codes.items())
        }
    )


def _value(identity: str, value: object) -> DynamicConfigValue:
    return DynamicConfigValue(id_val=identity, value=value)


def _link(link: Link) -> DashboardLink:
    return DashboardLink(link[0]).url(link[1])
