"""How well preferences are learned: users with a planted taste in, shares found, wrongly claimed and followed out.

    python benchmarks/preference_truth.py [--users 200] [--runs 120] [--seed 1]

Each population is shown a run of everybody at a time, and asked after every fifth: "ever" counts a claim at any
of these looks. Printed are counts with Wilson's 95 % interval, and the median run of the first right claim.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "personal"))

from simulated_users import SALT, START_NS, SimulatedUser, Taste, observed, population, rounds

from otel_perfopt.analyse.preference_learner import PreferenceLearner
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.signal.preference import QUALITY, SPEED
from otel_perfopt.signal.user_digest import user_digest

EVERY = 5


def watch(users: list[SimulatedUser], runs: int) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Return by user the run at which each word was first claimed, and what is claimed at the end."""
    learner = PreferenceLearner(SALT)
    first: dict[str, dict[str, int]] = {user.name: {} for user in users}
    last: dict[str, str] = {}
    for look in range(1, runs // EVERY + 1):
        observed(learner, rounds(users, EVERY))
        learner.settle(START_NS)
        for user in users:
            word = learner.profile(user_digest(user.name, SALT), "/query", START_NS).preference
            last[user.name] = word
            if word:
                first[user.name].setdefault(word, look * EVERY)
    return first, last


def told(label: str, successes: int, trials: int, more: str = "") -> None:
    found = wilson(successes, trials)
    if found is not None:
        interval = f"{found.low * 100:.1f} to {found.high * 100:.1f} %"
        print(f"  {label:58} {successes:4} of {trials:4}  {found.estimate * 100:5.1f} % ({interval}){more}")


def nobody(title: str, users: list[SimulatedUser], runs: int, about: list[SimulatedUser] | None = None) -> None:
    first, _ = watch(users, runs)
    asked = about or users
    print(title)
    told("ever said to have a preference, having none", sum(bool(first[user.name]) for user in asked), len(asked))


def planted(title: str, users: list[SimulatedUser], runs: int) -> None:
    first, last = watch(users, runs)
    print(title)
    for word in (SPEED, QUALITY):
        some = [user for user in users if user.preferences["/query"] == word]
        hits = [first[user.name][word] for user in some if word in first[user.name]]
        median = f", first at run {statistics.median(hits):.0f} (median)" if hits else ""
        told(f"prefer {word}: found", len(hits), len(some), median)
        told(
            f"prefer {word}: ever said to prefer the opposite",
            sum(len(first[u.name]) > (word in first[u.name]) for u in some),
            len(some),
        )
        told(f"prefer {word}: right at the end", sum(last[user.name] == word for user in some), len(some))
    none = [user for user in users if not user.preferences["/query"]]
    told("none: ever said to have one", sum(bool(first[user.name]) for user in none), len(none))


def changed(users: int, runs: int, seed: int) -> None:
    print(f"After a change of mind, {runs} runs later (one in ten users; rated often)")
    for word, other in ((SPEED, QUALITY), (QUALITY, SPEED)):
        turning = [
            SimulatedUser(f"turn-{n}", {"/query": word}, Taste(rates=0.8, scores=0.8), seed) for n in range(users // 10)
        ]
        everybody = [*population(users, seed), *turning]
        learner = PreferenceLearner(SALT)
        words: list[str] = []
        for phase in (word, other):
            for user in turning:
                user.preferences = {"/query": phase}
            for _ in range(runs // EVERY):
                observed(learner, rounds(everybody, EVERY))
                learner.settle(START_NS)
            words = [learner.profile(user_digest(u.name, SALT), "/query", START_NS).preference for u in turning]
            told(
                f"{word} to {other}: {'before' if phase == word else 'after'}, said to prefer {phase}",
                words.count(phase),
                len(words),
            )
        told(f"{word} to {other}: after, still said to prefer {word}", words.count(word), len(words))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--runs", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    nobody("Nobody has a preference", population(args.users, args.seed), args.runs)
    for name, taste in (
        ("asks again half of the time", Taste(base_asked=0.5)),
        ("asks again always", Taste(base_asked=1.0)),
        ("interrupts three in ten", Taste(base_interrupted=0.3)),
        ("rates everything, wildly", Taste(rates=1.0, noise=0.6)),
    ):
        odd = [SimulatedUser(f"odd-{number}", taste=taste, seed=args.seed) for number in range(args.users // 2)]
        nobody(f"Habits, in half of the users: {name}", [*population(args.users // 2, args.seed), *odd], args.runs, odd)
    confounded = [
        SimulatedUser(f"u{n}", {"/query": SPEED}, Taste(impatience=0.05), args.seed) for n in range(args.users)
    ]
    nobody("Slow answers are worse for everybody", confounded, args.runs)
    for share in (0.1, 0.2, 0.4):
        planted(f"{share:.0%} prefer speed, as many quality", population(args.users, args.seed, share), args.runs)
    changed(args.users, args.runs, args.seed)


if __name__ == "__main__":
    main()
