"""What model calls cost: a price table (JSON file) and a run in, the run with costs in USD out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from otel_perfopt.errors import FieldProblem, InvalidFileError
from otel_perfopt.execution.model import NO_TOKENS, Execution, Step, StepKind, TokenUsage

_PER_TOKENS = 1_000_000
_PRICES = ("input", "output", "cache_read", "cache_write")
# What clouds and gateways put around a model's name, and the date or version at its end.
_PREFIX = re.compile(r"^(?:.*/)?(?:[a-z]{2,6}\.)?(?:anthropic\.|openai\.)?")
_SUFFIX = re.compile(r"(?:[-@]\d{8}|-\d{4}-\d{2}-\d{2}|-latest)?(?:-v\d+(?::\d+)?)?(?:\[1m\])?$")


@dataclass(frozen=True, slots=True)
class PriceBand:
    """Prices in USD per million tokens of calls with at most `up_to_input_tokens` of input.

    Without a price for cache writes they cost what input costs; without one for cache reads, a
    call that has any cannot be priced.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    up_to_input_tokens: float = math.inf

    def cost_usd(self, tokens: TokenUsage) -> float | None:
        """Return what a call of this usage costs; None when usage or price is not known."""
        return self.cost_of(tokens.input, tokens.output, tokens.cache_read, tokens.cache_write)

    def cost_of(
        self, sent: float | None, received: float | None, read: float | None, written: float | None
    ) -> float | None:
        """Return the same of numbers of tokens: input, output, and of the input those read from and written to a cache."""
        read, written = read or 0, written or 0
        if sent is None or (received is None and self.output) or (read and self.cache_read is None):
            return None
        fresh = max(0, sent - read - written)
        write_price = self.input if self.cache_write is None else self.cache_write
        cost = fresh * self.input + read * (self.cache_read or 0.0) + written * write_price
        return (cost + (received or 0) * self.output) / _PER_TOKENS


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model, in bands of prompt length (ascending), with the date they were true."""

    models: Mapping[str, tuple[PriceBand, ...]]
    as_of: str = ""

    @classmethod
    def shipped(cls) -> PriceTable:
        """Return the table that comes with the package."""
        resource = files("otel_perfopt.measure") / "prices.json"
        return cls.from_json(resource.read_text("utf-8"), str(resource))

    @classmethod
    def load(cls, path: Path) -> PriceTable:
        """Read a price table of one's own.

        Raises:
            InvalidFileError: the file is no JSON or not a price table; it carries every problem.
            OSError: the file cannot be read.
        """
        return cls.from_json(path.read_text("utf-8"), str(path))

    @classmethod
    def from_json(cls, text: str, name: str) -> PriceTable:
        """Read the text of a price table; `name` is what errors call it.

        Raises:
            InvalidFileError: the text is no JSON or not a price table; it carries every problem.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
            raise InvalidFileError((FieldProblem(name, line, column, "", f"not JSON: {error}"),)) from error
        return cls._from(raw, name)

    @classmethod
    def _from(cls, raw: Any, path: str) -> PriceTable:
        entries = raw.get("models") if isinstance(raw, dict) else None
        if not isinstance(entries, dict):
            raise InvalidFileError((FieldProblem(path, 1, 1, "models", "must be an object of prices by model"),))
        problems: list[FieldProblem] = []
        models = {name.lower(): _bands(name, entry, path, problems) for name, entry in entries.items()}
        if problems:
            raise InvalidFileError(tuple(problems))
        return cls(models, str(raw.get("as_of", "")))

    def band(self, model: str, input_tokens: int) -> PriceBand | None:
        """Return the prices of one call; None for a model, or a length of prompt, that the table does not know."""
        return next((band for band in self.bands(model) if input_tokens <= band.up_to_input_tokens), None)

    def bands(self, model: str) -> tuple[PriceBand, ...]:
        """Return a model's prices, in bands of prompt length; none for one that the table does not know."""
        name = model.lower()
        return self.models.get(name) or self.models.get(_plain_name(name)) or ()

    def cost_usd(self, model: str, tokens: TokenUsage) -> float | None:
        """Return what a call costs; None when its price or usage is not known."""
        band = self.band(model, tokens.input or 0)
        return None if band is None else band.cost_usd(tokens)


@lru_cache(maxsize=1024)
def _plain_name(name: str) -> str:
    return _SUFFIX.sub("", _PREFIX.sub("", name))


def _bands(model: str, entry: Any, path: str, problems: list[FieldProblem]) -> tuple[PriceBand, ...]:
    found: list[PriceBand] = []
    for index, band in enumerate(entry if isinstance(entry, list) else [entry]):
        field = f"models.{model}[{index}]"
        known = (*_PRICES, "up_to_input_tokens")
        if not isinstance(band, dict) or not {"input", "output"} <= band.keys() <= set(known):
            problems.append(FieldProblem(path, 1, 1, field, f"needs input and output, and knows only {known}"))
        elif bad := [name for name, value in band.items() if not _is_price(value)]:
            problems.append(FieldProblem(path, 1, 1, f"{field}.{bad[0]}", "must be a number, zero or more"))
        else:
            found.append(PriceBand(**band))
    return tuple(sorted(found, key=lambda band: band.up_to_input_tokens))


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def priced(execution: Execution, prices: PriceTable) -> Execution:
    """Return the run with a cost on every call that states none and that the table can price.

    Steps below one that states its cost are part of it and are not priced.
    """
    steps = {step.span_id: step for step in (execution.command, *execution.steps)}

    def with_cost(step: Step) -> Step:
        if step.cost_usd is not None or step.tokens is NO_TOKENS or step.kind is StepKind.TOOL:
            return step
        cost = None if _inside_stated(step, steps) else prices.cost_usd(step.target.model or step.name, step.tokens)
        return step if cost is None else replace(step, cost_usd=cost)

    return replace(
        execution, command=with_cost(execution.command), steps=tuple(with_cost(step) for step in execution.steps)
    )


def _inside_stated(step: Step, steps: Mapping[str, Step]) -> bool:
    seen = {step.span_id}
    parent = step.parent_span_id
    while parent in steps and parent not in seen:
        if steps[parent].cost_usd is not None:
            return True
        seen.add(parent)
        parent = steps[parent].parent_span_id
    return False
