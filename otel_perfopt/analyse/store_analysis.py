"""A store analysed: a store and a window in, the `Analysis` of its runs out, of all of them what SQL can say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from otel_perfopt.analyse.analyser import Analyser, analyse
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.next_steps import patterns_of
from otel_perfopt.analyse.store_conversations import StoreConversations
from otel_perfopt.analyse.store_sample import HALF_WIDTH, traces_needed
from otel_perfopt.analyse.store_totals import StoreTotals
from otel_perfopt.analyse.store_workers import observe_over_workers
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.measure.sql.run_spread import run_spread
from otel_perfopt.measure.store.sample import Sample
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window
from otel_perfopt.signal.source import ReadTally

OnProgress = Callable[[int, int], None]
OnStage = Callable[[str], None]
_WHOLE: Final = (
    "Counts, times, tokens, cost, repeats and everything over time are of all runs; findings about single runs, "
    "what-if savings, parallelism and the time lost to errors are of a sample."
)


@dataclass(frozen=True, slots=True)
class StoreQuestion:
    """What is asked of a store.

    `half_width` is half the interval of the mean run time that is asked for, as a share of it: it decides how many
    traces are read one by one, unless `traces` does. `workers` share that work over a joblib `backend`.
    """

    window: Window = field(default_factory=Window)
    half_width: float = HALF_WIDTH
    traces: int | None = None
    workers: int = 1
    backend: str = "loky"
    seed: int = 0


def analyse_store(
    store: TelemetryStore,
    question: StoreQuestion | None = None,
    *,
    prices: PriceTable | None = None,
    on_progress: OnProgress | None = None,
    on_stage: OnStage | None = None,
) -> Analysis:
    """Analyse the runs that begin in the window.

    Where there are no more traces than the interval needs, all are read, as from files. Otherwise
    counts, usage, time, tokens, cost, conversations, errors and everything over time come from SQL
    over all spans, and what needs the structure of a run (data flow, what-if) from the sample;
    `notes` say so. `on_stage` gets the name of each part when it is done.

    Raises:
        StoreError: the store cannot be read.
    """
    asked = question or StoreQuestion()
    table = PriceTable.shipped() if prices is None else prices
    spread = run_spread(store, asked.window)
    wanted = asked.traces or traces_needed(spread, asked.half_width)
    if sum(one.traces for one in spread) <= wanted:
        return analyse(StoreSource(store, asked.window, on_progress=on_progress), prices=table, seed=asked.seed)
    whole = _ask_all(store, asked, table, spans=sum(one.spans for one in spread), on_progress=on_progress)
    _tell(on_stage, "what SQL says of all spans")
    source = StoreSource(store, asked.window, sample=Sample(wanted, asked.seed), on_progress=on_progress)
    analyser = observe_over_workers(
        source.batches(), prices=table, seed=asked.seed, workers=asked.workers, backend=asked.backend
    )
    _tell(on_stage, "the sample observed")
    analyser.believe(whole.totals, whole.conversations)
    analysis = _told(analyser, whole, source.tally)
    _tell(on_stage, "findings")
    notes = (*_notes(whole, source.notes, asked), *analysis.notes, *_price_note(analysis, table))
    return replace(analysis, notes=notes)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What SQL says of all spans."""

    totals: StoreTotals
    conversations: StoreConversations
    spans: int


def _ask_all(
    store: TelemetryStore, asked: StoreQuestion, prices: PriceTable, *, spans: int, on_progress: OnProgress | None
) -> _Whole:
    totals = StoreTotals.of(store, asked.window, prices=prices, on_progress=on_progress)
    told = StoreConversations.of(store, asked.window, left=totals.left_ids, spans=spans)
    return _Whole(totals, told, spans)


def _told(analyser: Analyser, whole: _Whole, tally: ReadTally) -> Analysis:
    seen = analyser.result(tally)
    transitions = whole.conversations.transitions
    return replace(
        seen,
        tally=replace(seen.tally, spans=whole.spans),
        errors=analyser.errors_of(whole.totals.errors, whole.totals.calls),
        next_steps=replace(
            seen.next_steps,
            tool_bigrams=patterns_of(transitions.tool_pairs),
            tool_trigrams=patterns_of(transitions.tool_triples),
            command_bigrams=patterns_of(transitions.command_pairs),
        ),
    )


def _tell(on_stage: OnStage | None, name: str) -> None:
    if on_stage is not None:
        on_stage(name)


def _notes(whole: _Whole, said: Iterable[str], asked: StoreQuestion) -> list[str]:
    notes = [_WHOLE, *said]
    if asked.traces is None:
        notes.append(
            f"The sample's size gives the mean run time within {asked.half_width:.1%} (95 %); "
            "a smaller interval reads more: --interval."
        )
    if whole.totals.left:
        notes.append(
            f"{whole.totals.left:,} traces were read one by one: they hold several runs, tell calls in layers, "
            "or are very long."
        )
    return notes


def _price_note(seen: Analysis, prices: PriceTable) -> list[str]:
    if seen.cost_usd is None or not prices.as_of:
        return []
    return [f"Costs that the telemetry does not state are list prices of {prices.as_of}."]
