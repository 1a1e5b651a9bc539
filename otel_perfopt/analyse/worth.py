"""What acting on each finding is expected to save a day, on one scale: findings and all runs' sums in, the same with worth out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_perfopt.analyse.analysis import Counts, UsageRow
from otel_perfopt.analyse.finding import Finding, Interval, Worth
from otel_perfopt.execution.model import TokenUsage

DAY_NS: Final = 86_400 * 1_000_000_000
# The share of what is at stake that acting is expected to bring. A replay says itself what it saves. That a slow
# step is made faster, a bound reached, a shift taken back or growth stopped, nobody has measured: guesses, by how
# plainly the finding says what to do, and their intervals begin at nothing.
CHANCES: Final[Mapping[str, float]] = {
    "opportunity": 1.0,
    "hotspot": 0.15,
    "regression": 0.5,
    "change_point": 0.25,
    "trend": 0.25,
    "residual_alarm": 0.25,
    "upper_bound": 0.1,
}
OBSERVED_CHANCE: Final = 0.25
_SERIES: Final = frozenset({"regression", "change_point", "residual_alarm"})
# These say what happens, not what would be better.
_NOTHING_TO_SAVE: Final = frozenset(
    {
        "season",
        "seasonal_peak",
        "seasonal_trough",
        "load_correlation",
        "command_sequence",
        "tool_sequence",
        "person_wait",
    }
)
GROWTH_DAYS: Final = 7
_TIME, _INPUT, _OUTPUT, _TOKENS, _COST = "s", "input {token}", "output {token}", "{token}", "USD"
# What a finding's metric is a share of.
_WHOLE: Final[Mapping[str, str]] = {
    "latency": _TIME,
    "input_tokens": _INPUT,
    "output_tokens": _OUTPUT,
    "tokens": _TOKENS,
    "tokens_per_run": _TOKENS,
    "cost_usd": _COST,
}


@dataclass(frozen=True, slots=True)
class Wholes:
    """All runs' time, tokens and cost a day, and each command's share of time and tokens; None where nobody knows."""

    per_day: Mapping[str, float | None]
    time_shares: Mapping[str, float]
    token_shares: Mapping[str, float]

    def share_of(self, finding: Finding) -> float:
        """Return the part of the whole that the finding's command has; 1 where it names none."""
        shares = self.time_shares if _WHOLE.get(finding.effect.metric) == _TIME else self.token_shares
        return shares.get(finding.target.command, 1.0) if finding.target.command else 1.0


def wholes_of(
    counts: Counts,
    tokens: TokenUsage,
    cost_usd: float | None,
    window_ns: tuple[int, int] | None,
    commands: Sequence[UsageRow],
) -> Wholes:
    """Return what a share of time, tokens or cost is a share of; a window shorter than a day counts as one."""
    days = max(1.0, (window_ns[1] - window_ns[0]) / DAY_NS) if window_ns is not None else None
    sums: dict[str, float | None] = {
        _TIME: counts.run_time_s,
        _INPUT: tokens.input,
        _OUTPUT: tokens.output,
        _TOKENS: tokens.total,
        _COST: cost_usd,
    }
    return Wholes(
        {unit: None if value is None or days is None else value / days for unit, value in sums.items()},
        _shares({row.name: row.total_s or 0.0 for row in commands}),
        _shares({row.name: float(row.tokens.total or 0) for row in commands}),
    )


def with_worth(findings: Iterable[Finding], wholes: Wholes) -> list[Finding]:
    """Give each finding what acting on it is worth; None where it claims nothing that could be saved."""
    return [replace(finding, worth=worth_of(finding, wholes)) for finding in findings]


def worth_of(finding: Finding, wholes: Wholes) -> Worth | None:
    """Return the expected saving as a share of the whole it is part of, and a day."""
    unit = _WHOLE.get(finding.effect.metric)
    share = _share(finding, wholes)
    if share is None or (unit is None and finding.saving is None):
        return None
    # Findings on rates are priced in time.
    unit = unit or _TIME
    whole = wholes.per_day.get(unit)
    word = _TOKENS if unit in (_INPUT, _OUTPUT) else unit
    return Worth(share, None if whole is None else share.times(whole), word)


def _share(finding: Finding, wholes: Wholes) -> Interval | None:
    if finding.kind in _NOTHING_TO_SAVE:
        return None
    if finding.saving is not None:
        chance = CHANCES["upper_bound"] if finding.kind == "upper_bound" else 1.0
        return _by_chance(finding.saving, chance)
    at_stake = _at_stake(finding, wholes)
    return None if at_stake is None else _by_chance(at_stake, CHANCES.get(finding.kind, OBSERVED_CHANCE))


def _at_stake(finding: Finding, wholes: Wholes) -> Interval | None:
    """Return the share of the whole that would be gone if what was found were gone; None where it is no cost."""
    relative = finding.effect.relative
    if relative is None or finding.effect.metric not in _WHOLE:
        return None
    if finding.kind == "trend":
        relative = relative.through(lambda pace: (1 + max(-0.99, pace)) ** GROWTH_DAYS - 1)
    if finding.kind in _SERIES or finding.kind == "trend":
        if relative.estimate <= 0:
            return None  # it became better
        excess = relative.through(lambda rise: max(0.0, rise) / (1 + max(0.0, rise)))
        return excess.times(wholes.share_of(finding))
    return relative.through(lambda part: min(1.0, max(0.0, part)))


def _by_chance(share: Interval, chance: float) -> Interval:
    if chance == 1.0:
        return share
    return Interval(share.estimate * chance, 0.0, max(0.0, share.high), share.level)


def _shares(parts: Mapping[str, float]) -> Mapping[str, float]:
    whole = sum(parts.values())
    return {name: part / whole for name, part in parts.items()} if whole > 0 else {}
