"""A data set's played variants in, the lines that say what was replayed, saved and possible out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from replay_parts.data_sets import DataSet
from replay_parts.played import Played
from replay_parts.possible import Possible, possible
from replay_parts.recorded_turn import Conversation
from replay_parts.recordings import executions
from replay_parts.replay_table import table
from replay_parts.replay_variants import Variant
from replay_parts.sent_tokens import AUTOMATIC
from replay_parts.useful_row import useful_lines

from otel_perfopt.analyse.context_rules import CACHED_PRICE

SHOWN_FALSE = 5


def told(
    data_set: DataSet,
    conversations: Sequence[Conversation],
    variants: Sequence[Variant],
    played: Mapping[str, Sequence[Played]],
) -> list[str]:
    """Return the lines about one data set: what was replayed, its table, what is not in it."""
    runs, base = executions(conversations), played["baseline"]
    timed = all(run.timed for run in runs)
    could = possible(runs)
    of_provider = _beyond_automatic(could, base) if data_set.rule == AUTOMATIC else could
    wrong = [line for rows in played.values() for row in rows for line in row.wrong]
    return [
        *_heads(data_set.name, conversations, base, timed=timed),
        *table(variants, played, lambda variant: could if variant.marked else of_provider, timed=timed),
        *(useful_lines(played, kept_of(data_set)[1:]) if kept_of(data_set) else ()),
        *(f"  false: {line}" for line in wrong[:SHOWN_FALSE]),
        *(f"  {note}" for note in data_set.notes),
    ]


def kept_of(data_set: DataSet) -> tuple[str, ...]:
    """Return the variants whose requests are looked into for what was used of them, the baseline first."""
    selects = "selective_context" in data_set.optimizations
    return ("baseline", "selective_context", "all together") if selects else ()


def _heads(name: str, conversations: Sequence[Conversation], base: Sequence[Played], *, timed: bool) -> list[str]:
    runs = executions(conversations)
    asks = [round_.ask.tokens for each in conversations for turn in each.turns for round_ in turn.rounds]
    tokens, cached = sum(row.paid.input for row in base), sum(row.paid.cached for row in base)
    recorded_s, replayed_s = sum(run.duration_s for run in runs), sum(row.seconds for row in base)
    spent = f"{replayed_s:,.0f} s as replayed ({recorded_s:,.0f} s as recorded)" if timed else "no times recorded"
    known = sum(ask.cache_read or 0 for ask in asks) / max(1, sum(ask.input or 0 for ask in asks))
    beside = f" ({known:.1%} as recorded)" if known else ""
    held = f"{len(conversations)} conversations, {len(runs)} runs, {len(asks):,} model calls"
    usd = sum(row.paid.usd for row in base)
    return [
        f"{name}: {held}, {sum(row.calls for row in base):,} tool calls; {spent}",
        f"  baseline: {tokens:,.0f} input tokens, {cached / tokens:.1%} of them cached{beside}, ${usd:,.2f}",
    ]


def _beyond_automatic(could: Mapping[str, Possible], base: Sequence[Played]) -> dict[str, Possible]:
    """Return the same without what the provider of the baseline had cached by itself."""
    of = could.get("prompt_cache")
    if of is None:
        return dict(could)
    cached = sum(row.paid.cached for row in base) / sum(row.paid.input for row in base)
    left = max(0.0, (of.bound or 0.0) - (1 - CACHED_PRICE) * cached)
    return {**could, "prompt_cache": replace(of, bound=left)}
