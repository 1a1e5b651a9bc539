"""What came of one replayed run: figures in, one row out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from replay_parts.sent_tokens import Paid

from otel_perfopt.analyse.useful_passages import Exchange


@dataclass
class Played:
    """One run as it was replayed: seconds, processor time of it, what was paid for, and what came out other than it was recorded."""

    conversation: str
    seconds: float = 0.0
    work_s: float = 0.0
    asks: int = 0
    paid: Paid = field(default_factory=Paid)
    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    made: int = 0
    other_replies: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
