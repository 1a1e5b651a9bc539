"""What a user's behaviour says of what the user prefers: recent runs in, evidence for speed and for quality out.

Each sign is an e-value: a number whose mean is at most 1 while there is no preference, so that 40 is seen
in at most one of forty such users at a look. Signs are hedged, (1 + e) / 2, and multiplied. A run counts the less the older it is: likelihood
ratios to a power of at most 1 stay e-values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from otel_perfopt.analyse.seen_run import SeenRun

DAY_S = 86_400.0
# After so many newer runs, or so long, a run counts half.
HALF_RUNS = 24.0
HALF_S = 30 * DAY_S
LEAST_RATED = 6
# How strongly a user's scores might go with quickness, in standard errors, and how far above the usual a rate may be.
_STRENGTHS = (1.0, 2.0, 3.0)
_RAISED = (0.2, 0.4, 0.6)
_LEAST_RATE, _MOST_RATE = 0.02, 0.99
# What is taken for usual before anybody was seen, and how many runs that is worth.
_USUAL_INTERRUPTED, _USUAL_ASKED_AGAIN, _PRIOR_RUNS = 0.1, 0.15, 20.0
_OWN_PRIOR_RUNS = 10.0
# As many rated runs, evenly spread, as it takes to be heard on what everybody likes.
_PRIOR_SPREAD = 2.0
_NO_VARIANCE = 1e-12


@dataclass(slots=True)
class Usual:
    """What users of a command do: interrupt slow runs, ask again after quick ones, rate what was quick higher or lower.

    `pull` over `spread` is how much more a quickness of 1 is liked than one of 0.
    """

    slow: float = 0.0
    interrupted: float = 0.0
    quick: float = 0.0
    asked_again: float = 0.0
    pull: float = 0.0
    spread: float = 0.0

    def interruption_rate(self, own_slow: int, own_interrupted: int) -> float:
        """Return the rate among everybody else's slow runs."""
        others = max(0.0, self.slow - own_slow), max(0.0, self.interrupted - own_interrupted)
        return (others[1] + _USUAL_INTERRUPTED * _PRIOR_RUNS) / (others[0] + _PRIOR_RUNS)

    def asking_rate(self, own_quick: int, own_asked: int) -> float:
        """Return the rate after everybody else's quick runs."""
        others = max(0.0, self.quick - own_quick), max(0.0, self.asked_again - own_asked)
        return (others[1] + _USUAL_ASKED_AGAIN * _PRIOR_RUNS) / (others[0] + _PRIOR_RUNS)

    def slope(self, own_pull: float, own_spread: float) -> float:
        """Return how much more everybody else likes a quickness of 1 than one of 0; nothing while few are known."""
        return (self.pull - own_pull) / (max(0.0, self.spread - own_spread) + _PRIOR_SPREAD)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What runs say: natural logarithms of the evidence, by sign where it spoke, and how many runs there were.

    `slow` and `quick` count the runs on each side; without both nothing can be told.
    """

    speed: float = 0.0
    quality: float = 0.0
    runs: int = 0
    slow: int = 0
    quick: int = 0
    rated: int = 0
    interrupted: int = 0
    asked_again: int = 0


NO_EVIDENCE = Evidence()


def evidence_of(runs: Sequence[SeenRun], usual: Callable[[str], Usual], now_ns: int) -> Evidence:
    """Return the evidence of one user's runs, oldest first; `usual` tells of each command what others do."""
    weights = [
        0.5 ** ((len(runs) - 1 - place) / HALF_RUNS + max(0, now_ns - run.end_ns) / 1e9 / HALF_S)
        for place, run in enumerate(runs)
    ]
    placed = [(run, weight) for run, weight in zip(runs, weights, strict=True) if run.quickness is not None]
    liked_quick, liked_slow = _ratings(placed, usual)
    impatient = _interruptions(placed, usual)
    unsatisfied = _asked_again(placed, usual)
    return Evidence(
        speed=_hedged(liked_quick) + _hedged(impatient),
        quality=_hedged(liked_slow) + _hedged(unsatisfied),
        runs=len(placed),
        slow=sum(run.slow for run, _ in placed),
        quick=sum(run.quick for run, _ in placed),
        rated=sum(run.score is not None for run, _ in placed),
        interrupted=sum(run.interrupted and run.slow for run, _ in placed),
        asked_again=sum(bool(run.asked_again) and run.quick for run, _ in placed),
    )


_Placed = Sequence[tuple[SeenRun, float]]


def _ratings(placed: _Placed, usual: Callable[[str], Usual]) -> tuple[float, float]:
    """Return ln e for scores that rise, and that fall, with quickness: by themselves, and more than others' do.

    Hard questions take longer and are answered worse, for everybody: that is nobody's preference.
    """
    rated = [(run.command, run.quickness or 0.0, run.score, weight) for run, weight in placed if run.score is not None]
    if len(rated) < LEAST_RATED:
        return 0.0, 0.0
    own = _own_pulls([(command, quickness, score) for command, quickness, score, _ in rated])
    slopes = {command: usual(command).slope(*pulls) for command, pulls in own.items()}
    # The newest run tells how old all of it is.
    freshness = max(weight for *_, weight in rated)
    alone = _standard([(quickness, score, weight) for _, quickness, score, weight in rated])
    beyond = _standard(
        [
            (quickness, score - slopes[command] * (quickness - 0.5), weight)
            for command, quickness, score, weight in rated
        ]
    )
    return freshness * _log_e_normal(min(alone, beyond)), freshness * _log_e_normal(-max(alone, beyond))


def _own_pulls(rated: Sequence[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    mean = sum(score for *_, score in rated) / len(rated)
    found: dict[str, tuple[float, float]] = {}
    for command, quickness, score in rated:
        pull, spread = found.get(command, (0.0, 0.0))
        found[command] = (pull + (quickness - 0.5) * (score - mean), spread + (quickness - 0.5) ** 2)
    return found


def _standard(rated: Sequence[tuple[float, float, float]]) -> float:
    """Return by how many standard errors scores rise with quickness.

    Σa·s with a = w(q − q̄) has mean 0 and the variance below over all orders of the scores, whatever they
    and the runs are: without a preference any order is as likely.
    """
    total = sum(weight for _, _, weight in rated)
    middle = sum(quickness * weight for quickness, _, weight in rated) / total
    mean = sum(score for _, score, _ in rated) / len(rated)
    pulls = [(weight * (quickness - middle), score - mean) for quickness, score, weight in rated]
    variance = sum(pull * pull for pull, _ in pulls) * sum(off * off for _, off in pulls) / (len(rated) - 1)
    return sum(pull * off for pull, off in pulls) / math.sqrt(variance) if variance > _NO_VARIANCE else 0.0


def _log_e_normal(standard: float) -> float:
    return _log_mean_exp([strength * standard - strength * strength / 2 for strength in _STRENGTHS])


def _interruptions(placed: _Placed, usual: Callable[[str], Usual]) -> float:
    """Return ln e for a user who interrupts slow runs more than others do, and more than quick ones."""
    quick = [run for run, _ in placed if run.quick]
    early = sum(run.interrupted for run in quick)
    whatever = sum(run.interrupted for run, _ in placed) / max(1, len(placed))
    habit = (early + min(whatever, _USUAL_INTERRUPTED) * _OWN_PRIOR_RUNS) / (len(quick) + _OWN_PRIOR_RUNS)
    slow = [(run, weight) for run, weight in placed if run.slow]
    own = _counts((run.command, run.interrupted) for run, _ in slow)
    rates = {command: max(habit, usual(command).interruption_rate(*counts)) for command, counts in own.items()}
    return _log_e_rate([(run.interrupted, rates[run.command], weight) for run, weight in slow])


def _asked_again(placed: _Placed, usual: Callable[[str], Usual]) -> float:
    """Return ln e for a user who asks again after quick answers more than others do, and more than after slow ones."""
    known = [(run, weight) for run, weight in placed if run.asked_again is not None and not run.interrupted]
    slow = [run for run, _ in known if run.slow]
    after_slow = sum(bool(run.asked_again) for run in slow)
    whatever = sum(bool(run.asked_again) for run, _ in known) / max(1, len(known))
    habit = (after_slow + whatever * _OWN_PRIOR_RUNS) / (len(slow) + _OWN_PRIOR_RUNS)
    quick = [(run, weight) for run, weight in known if run.quick]
    own = _counts((run.command, bool(run.asked_again)) for run, _ in quick)
    rates = {command: max(habit, usual(command).asking_rate(*counts)) for command, counts in own.items()}
    return _log_e_rate([(bool(run.asked_again), rates[run.command], weight) for run, weight in quick])


def _counts(told: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for command, happened in told:
        runs, times = found.get(command, (0, 0))
        found[command] = (runs + 1, times + happened)
    return found


def _log_e_rate(events: Sequence[tuple[bool, float, float]]) -> float:
    if not events:
        return 0.0
    sums = []
    for raised in _RAISED:
        total = 0.0
        for happened, rate, weight in events:
            usual = min(max(rate, _LEAST_RATE), _MOST_RATE)
            more = usual + (1.0 - usual) * raised
            total += weight * math.log(more / usual if happened else (1.0 - more) / (1.0 - usual))
        sums.append(total)
    return _log_mean_exp(sums)


def _log_mean_exp(terms: Sequence[float]) -> float:
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms) / len(terms))


def _hedged(log_e: float) -> float:
    """Return ln((1 + e) / 2): one sign that stays away does not speak against another."""
    return (
        log_e - math.log(2.0) + math.log1p(math.exp(-log_e))
        if log_e > 0
        else math.log1p(math.exp(log_e)) - math.log(2.0)
    )
