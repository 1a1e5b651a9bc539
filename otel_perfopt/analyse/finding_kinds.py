"""The words for what can be found: nothing in, every kind of finding with what it says out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What a kind of finding says.

    `ahead` marks kinds that speak of a window of time to come: a policy with `when.ahead` wakes that
    long before it and stands down at its end. `passes` marks events: they are news until the end of
    the finding's window, and afterwards wake nobody.
    """

    says: str
    ahead: bool = False
    passes: bool = False


# What findings are called, policies' `when` uses: a kind never changes its word.
FINDING_KINDS: Final[Mapping[str, FindingKind]] = {
    "opportunity": FindingKind("replaying the recorded runs with an optimization saves time"),
    "upper_bound": FindingKind("replaying shows what an optimization could save at the very best"),
    "hotspot": FindingKind("a step takes a large part of the critical path"),
    "person_wait": FindingKind("runs wait for a person"),
    "repeated_call": FindingKind("a call is made again with equal arguments"),
    "reread": FindingKind("a resource is read again"),
    "serial_independent": FindingKind("calls that one reply asked for run one after the other without need"),
    "independent_reads": FindingKind("reads of different replies use nothing of each other"),
    "n_plus_one": FindingKind("one tool is called once for every item of a list"),
    "resent_context": FindingKind("tokens are sent that had been sent before"),
    "whole_context": FindingKind("the whole context is sent anew with every call"),
    "cache_break": FindingKind("prompts change where the provider could have cached them"),
    "context_pressure": FindingKind("contexts come close to the model's window"),
    "over_thinking": FindingKind("thinking takes longer than its result is worth"),
    "errors": FindingKind("time and tokens are lost to errors"),
    "retry_storm": FindingKind("a failing call is tried again and again"),
    "rate_limit": FindingKind("calls are refused for coming too often"),
    "queueing": FindingKind("calls begin later the more is in flight"),
    "saturation": FindingKind("calls take longer the more are in flight"),
    "memory_growth": FindingKind("a process holds more and more memory"),
    "late_import": FindingKind("a process loads modules at its start that nothing uses until later, or ever"),
    "cold_start": FindingKind("the first call after a start or a silence is slower than those after it"),
    "workflow": FindingKind("conversations go through the same commands again and again"),
    "efficiency_pattern": FindingKind("an order of steps reaches the same outcome sooner"),
    "allocation": FindingKind("a cheaper model or effort does as well"),
    "slow_cluster": FindingKind("slow runs that nothing explains have something in common"),
    "command_sequence": FindingKind("a command is followed by a certain other"),
    "tool_sequence": FindingKind("a tool is followed by a certain other"),
    "season": FindingKind("a series repeats itself every day, week or other period"),
    "trend": FindingKind("a series rises or falls, its rhythm and shifts left out"),
    "change_point": FindingKind("a series shifted for good at a date", passes=True),
    "seasonal_peak": FindingKind("a rhythm's high comes, with its window, height and interval", ahead=True),
    "seasonal_trough": FindingKind("a rhythm's low comes: the time for heavy work", ahead=True),
    "residual_alarm": FindingKind("a series is now where its rhythm and noise do not put it", passes=True),
    "load_correlation": FindingKind("latency, errors or tokens follow the load, rhythm left out"),
    "refinement": FindingKind("an ended roll-out says that another parameter would do better"),
    "regression": FindingKind("a series became worse when a release, model, prompt or policy changed", passes=True),
}


def nearest_kind(word: str) -> str | None:
    """Return the kind that a mistyped word most resembles; None where it resembles none."""
    close = get_close_matches(word.replace("-", "_").lower(), FINDING_KINDS, n=1, cutoff=0.6)
    return close[0] if close else None


def has_passed(kind: str, window_ns: tuple[int, int], now_ns: int) -> bool:
    """Tell whether a finding speaks of an event or a window that is over."""
    said = FINDING_KINDS.get(kind)
    return said is not None and (said.ahead or said.passes) and 0 < window_ns[1] <= now_ns
