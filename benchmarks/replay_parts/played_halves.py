"""A data set in two halves, each replayed with what was mined from the other: a variant in, its played runs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from replay_parts.played import Played
from replay_parts.player import Player
from replay_parts.recorded_turn import Conversation
from replay_parts.replay_variants import Variant, preload_rules, snapshot_of
from replay_parts.sent_tokens import OWN_MARKS, Provider

from otel_perfopt.measure.price import PriceTable

PRICES = PriceTable.shipped()


@dataclass(frozen=True)
class Halves:
    """A data set as it is replayed; `rule` is how its provider caches, `own` are its parameters by optimization.

    Of the variants named in `kept` the requests are kept as they were sent.
    """

    conversations: Sequence[Conversation]
    own: Mapping[str, Mapping[str, Any]]
    rule: str
    priced_as: str
    tell: Callable[[int], None]
    kept: Sequence[str] = ()

    def play(self, variant: Variant) -> list[Played]:
        """Return one row a run, the even conversations first."""
        return [row for half in (0, 1) for row in self._half(variant, half)]

    def _half(self, variant: Variant, half: int) -> list[Played]:
        chosen, others = self.conversations[half::2], self.conversations[1 - half :: 2]
        rules = preload_rules(others) if "preload" in variant.optimizations else {}
        snapshot = snapshot_of(variant, chosen, rules, self.own)
        provider = partial(Provider, self.rule, self.priced_as, PRICES, hidden=self.rule == OWN_MARKS)
        return Player(snapshot, provider, self.tell, keep=variant.name in self.kept).play(chosen)
