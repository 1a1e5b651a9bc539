"""The calls of one model as they end in, their time, tokens and cost counted; what is looked up is looked up once a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.measure.meter_histogram import ExponentialCounts, Sampled
from otel_perfopt.measure.meter_series import Labels, MeterSeries
from otel_perfopt.measure.price import PriceBand, PriceTable

MAX_MODELS: Final = 500
_INPUT, _OUTPUT, _READ, _WRITTEN = range(4)
_KINDS: Final = ("input", "output", "cache_read", "cache_write", "reasoning", "resent")
_NAMES: Final = (
    c.GEN_AI_USAGE_INPUT_TOKENS,
    c.GEN_AI_USAGE_OUTPUT_TOKENS,
    c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    c.GEN_AI_USAGE_REASONING_TOKENS,
    c.CONTEXT_RESENT_TOKENS,
)
_NUMBERS: Final = frozenset((int, float))


class ModelSeries:
    """Where the calls of one model are counted; a series exists from its first value on."""

    __slots__ = ("_bands", "_context", "_duration", "_labels", "_money", "_series", "_tokens", "_window", "name")

    def __init__(self, name: str, series: MeterSeries, bands: Sequence[PriceBand], window: float | None) -> None:
        self.name = name
        self._labels: Labels = ((c.GEN_AI_REQUEST_MODEL, name),)
        self._series = series
        self._bands = bands
        self._window = window
        self._duration = series.histogram(c.METRIC_INFERENCE_DURATION, self._labels)
        self._context: ExponentialCounts | None = None
        self._money: list[float] | None = None
        self._tokens: dict[int, list[float]] = {}

    def count(
        self, attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None
    ) -> tuple[float | None, float | None]:
        """Count one call; its cost in USD, and its input tokens, None where they are not known."""
        self._duration.add(seconds, sampled)
        counts: list[Any] = list(map(attributes.get, _NAMES))
        for index, number in enumerate(counts):
            if number is None:
                continue
            if type(number) not in _NUMBERS:
                counts[index] = None
            elif number:
                try:
                    self._tokens[index][0] += number
                except KeyError:
                    self._first(index)[0] += number
        first: Any = attributes.get(c.TIME_TO_FIRST_TOKEN)
        if type(first) in _NUMBERS:
            self._series.record(c.METRIC_FIRST_TOKEN, self._labels, first, sampled)
        tokens = counts[_INPUT]
        if tokens is not None:
            self._filled(attributes, tokens)
        cost = self._cost(attributes, counts)
        if cost:
            if self._money is None:
                self._money = self._series.total(c.METRIC_COST, self._labels)
            self._money[0] += cost
        return cost, tokens

    def _first(self, index: int) -> list[float]:
        labels = ((c.TOKEN_TYPE, _KINDS[index]), *self._labels)
        total = self._tokens[index] = self._series.total(c.METRIC_TOKENS, labels)
        return total

    def _filled(self, attributes: Mapping[str, Any], tokens: float) -> None:
        """Count how full the context was."""
        if self._context is None:
            self._context = self._series.histogram(c.METRIC_CONTEXT_TOKENS, self._labels)
        self._context.add(tokens)
        window: Any = attributes.get(c.CONTEXT_WINDOW_TOKENS)
        if type(window) not in _NUMBERS or not window:
            window = self._window
        if window:
            self._series.record(c.METRIC_CONTEXT_USE, self._labels, tokens / window)

    def _cost(self, attributes: Mapping[str, Any], counts: Sequence[float | None]) -> float | None:
        stated: Any = attributes.get(c.COST_USD)
        if type(stated) in _NUMBERS:
            return float(stated)
        tokens = counts[_INPUT]
        if tokens is not None:
            for band in self._bands:
                if tokens <= band.up_to_input_tokens:
                    return band.cost_of(tokens, counts[_OUTPUT], counts[_READ], counts[_WRITTEN])
        return None


class ModelTable:
    """The models met so far; of more than 500 the rest are looked up anew for each call, in bounded series."""

    def __init__(self, series: MeterSeries, prices: PriceTable | None, windows: Sequence[tuple[str, int]]) -> None:
        self._series = series
        self._prices = prices
        self._windows = windows
        self._models: dict[str, ModelSeries] = {}

    def of(self, name: str) -> ModelSeries:
        """Return where the calls of a model are counted."""
        found = self._models.get(name)
        if found is None:
            bands = self._prices.bands(name) if self._prices is not None else ()
            window = next((size for pattern, size in self._windows if fnmatchcase(name, pattern)), None)
            found = ModelSeries(name, self._series, bands, window)
            if len(self._models) < MAX_MODELS:
                self._models[name] = found
        return found
