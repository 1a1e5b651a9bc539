"""A title and panels in, a whole dashboard out: variables, links between dashboards, and a mark for each policy's change."""

from __future__ import annotations

# ruff: noqa: FBT003 - the builders take flags by position
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards import query as q
from dashboards.panel import DATA_SOURCE, Link
from otel_perfopt import conventions as c

TAG = "otel-perfopt"
CHANGES = f"{q.gauge(c.METRIC_POLICY_CHANGED)} * 1000"


class Variable(NamedTuple):
    """A choice at the top of a dashboard: its name, its title, and the query that gives its values."""

    name: str
    title: str
    query: str


SERVICE = Variable("service", "Service", f"label_values({q.histogram(c.METRIC_COMMAND_DURATION)}, job)")
POLICY = Variable("policy", "Policy", f"label_values({q.gauge(c.METRIC_POLICY_STATE)}, {q.label(c.POLICY)})")


class Section(NamedTuple):
    """A row's title and its panels."""

    title: str
    panels: Sequence[Any]


def page(
    uid: str, title: str, description: str, sections: Sequence[Section], variables: Sequence[Variable] = (SERVICE,)
) -> dict[str, Any]:
    """Return a dashboard as plain data, as Grafana's provisioning reads it."""
    board = (
        Dashboard(title)
        .uid(f"perfopt-{uid}")
        .description(description)
        .tags([TAG])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(_links())
        .with_variable(_data_source("datasource", "Metrics", "prometheus"))
        .with_variable(_data_source("traces", "Traces", "jaeger"))
    )
    for variable in variables:
        board.with_variable(_query_variable(variable))
    for section in sections:
        board.with_row(Row(section.title))
        for panel in section.panels:
            board.with_panel(panel)
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    found["annotations"] = {"list": [_changes()]}
    found["panels"] = [dict(panel, id=number) for number, panel in enumerate(found["panels"], start=1)]
    return found


def traces_link(title: str, tags: Mapping[str, str]) -> Link:
    """Return a link from a series to the traces behind it: a search in the trace data source, in the time shown.

    `tags` are span attributes and what of the series they must equal, such as `${__field.labels.job}`.
    """
    search = {
        "refId": "A",
        "queryType": "search",
        "service": "${__field.labels.job}",
        "tags": " ".join(f'{name}="{value}"' for name, value in tags.items()),
    }
    pane = {"datasource": "${traces}", "queries": [search], "range": {"from": "${__from}", "to": "${__to}"}}
    encoded = quote(json.dumps({"a": pane}, separators=(",", ":")), safe="${}_.,:")
    return title, f"/explore?schemaVersion=1&panes={encoded}"


def _links() -> DashboardLink:
    return (
        DashboardLink("otel-perfopt")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _data_source(name: str, title: str, kind: str) -> DatasourceVariable:
    return DatasourceVariable(name).label(title).type(kind)


def _query_variable(variable: Variable) -> QueryVariable:
    return (
        QueryVariable(variable.name)
        .label(variable.title)
        .query({"query": variable.query, "refId": "variable"})
        .datasource(DATA_SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _changes() -> dict[str, Any]:
    """Return the annotation that marks when a policy went from one state to another.

    The metric's value is the moment itself, so a mark stands where the change was, whenever it was told.
    """
    policy, before, after = (q.label(name) for name in (c.POLICY, c.CHANGED_FROM, c.CHANGED_TO))
    return {
        "name": "Policy changes",
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "datasource": {"type": DATA_SOURCE.type_val, "uid": DATA_SOURCE.uid},
        "expr": CHANGES,
        "step": "60s",
        "titleFormat": f"{{{{{policy}}}}}",
        "textFormat": f"{{{{{before}}}}} → {{{{{after}}}}}",
        "tagKeys": after,
        "useValueForTime": True,
    }
