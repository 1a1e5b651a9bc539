"""The policy reference: the models of policies and boundaries in, one page out."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from docs.generation.fields import described_in_yaml, fields_of
from docs.generation.markdown import code, page, prose, table
from docs.generation.policy_words import MEANINGS
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.decide.boundary import AllowDeny, BoundarySpec, SafetyBoundary
from otel_perfopt.decide.early_budget import EarlyBudget
from otel_perfopt.decide.live import LIVE_MEASURES, SECONDS, SHARE, Live
from otel_perfopt.decide.policy import (
    ApprovalSpec,
    ExcludeSpec,
    MatchSpec,
    Metadata,
    OptimizationPolicy,
    PolicySpec,
    When,
)
from otel_perfopt.decide.policy_file import policy_schema
from otel_perfopt.decide.rollout import METRICS, Goal, Guardrail, Limits, Rollback, Rollout, Step
from otel_perfopt.decide.strategy import Strategy
from otel_perfopt.decide.tuning import TUNABLE_PARAMETERS, Tune

# In reading order: each after the one that holds it.
POLICY_MODELS: tuple[type[BaseModel], ...] = (
    OptimizationPolicy,
    Metadata,
    PolicySpec,
    When,
    Live,
    MatchSpec,
    ExcludeSpec,
    ApprovalSpec,
    Rollout,
    Step,
    Limits,
    Goal,
    Guardrail,
    Rollback,
    Strategy,
    Tune,
    EarlyBudget,
)
BOUNDARY_MODELS: tuple[type[BaseModel], ...] = (SafetyBoundary, BoundarySpec, AllowDeny)

_FIRST = """Every field of a policy and of a safety boundary, from the models that check them. `perfopt check` says what is
wrong with a file, with line and column. Editors take the [JSON Schema](../policy.schema.json):

```yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/otel-perfopt/otel-perfopt/main/docs/policy.schema.json
```

Names are in camelCase. Durations read `500ms`, `30m`, `24h`, `7d`; shares read `5%`; differences of shares read
`5pp` (percentage points). A list of one may be written without brackets. An unknown or repeated key is refused.
Times and shares without a default must be given; `–` means that there is none and none is needed.
"""


def policy_page() -> str:
    """Return the page."""
    return page(
        "Policies and boundaries",
        _FIRST,
        "## A policy",
        *_sections(POLICY_MODELS),
        "## Metrics\n\nWhat goals and guardrails may name.",
        table(("metric", "better is", "is"), _metrics()),
        "## Findings\n\nWhat `when.finding` may name; [detectors](detectors.md) says who finds them.",
        table(("finding", "says that"), ((code(kind), told.says) for kind, told in sorted(FINDING_KINDS.items()))),
        "## Live measures\n\nWhat `when.live` may name; each is of the calls of the last minutes.",
        table(("measure", "is", "level"), _live()),
        "## Parameters that can be tuned\n\nWhat `tune.parameter` may name.",
        table(("type", "parameters"), _tunable()),
        "## A boundary",
        *_sections(BOUNDARY_MODELS),
    )


def _live() -> Iterator[tuple[str, str, str]]:
    levels = {SECONDS: "a time, `2s`", SHARE: "a share, `5%`"}
    for name, told in LIVE_MEASURES.items():
        yield code(name), told.says, levels.get(told.unit, "a rate, `300/min`")


def _tunable() -> Iterator[tuple[str, str]]:
    for kind, words in TUNABLE_PARAMETERS.items():
        yield code(kind), ", ".join(code(word) for word in words)


def _sections(models: tuple[type[BaseModel], ...]) -> Iterator[str]:
    definitions = policy_schema()["$defs"]
    for model in models:
        rows = (
            (
                code(field.name),
                field.values,
                field.default or "must be given",
                MEANINGS.get((model.__name__, field.name), ""),
            )
            for field in fields_of(model, definitions)
        )
        yield f"### {model.__name__}\n\n{described_in_yaml(model, prose(model))}"
        yield table(("field", "values", "default", "meaning"), rows)


def _metrics() -> Iterator[tuple[str, str, str]]:
    for name, word in METRICS.items():
        is_what = "a share of units; margins in % or pp" if word.is_share else "a mean over units; margins in %"
        yield code(name), "more" if word.higher_is_better else "less", is_what
