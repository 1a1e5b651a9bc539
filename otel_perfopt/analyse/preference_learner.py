"""Who prefers speed and who quality: finished runs in, a preference by user and command out; users are digests."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final

from otel_perfopt.analyse.command_pace import CommandPace
from otel_perfopt.analyse.command_preference import preferred_by_most
from otel_perfopt.analyse.preference_claim import ENOUGH_EACH, ENOUGH_RUNS, Claim, Claims
from otel_perfopt.analyse.preference_evidence import LEAST_RATED, Evidence, Usual, evidence_of
from otel_perfopt.analyse.preference_profile import (
    BEHAVIOUR,
    NONE_SHOWN,
    OF_COMMAND,
    OF_USER,
    OF_USER_AND_COMMAND,
    STATED,
    TOO_LITTLE,
    PreferenceProfile,
)
from otel_perfopt.analyse.seen_run import SeenRun, seen_run, user_score
from otel_perfopt.execution.model import Evaluation, Execution, Outcome
from otel_perfopt.signal.preference import NO_PREFERENCE
from otel_perfopt.signal.user_digest import user_digest

MAX_USERS: Final = 4000
RUNS_KEPT: Final = 96
MAX_USUAL: Final = 500
MAX_RUNS_OF_USERS: Final = 20_000
# A request within so long of an answer is taken for one more try at the same.
ASKED_AGAIN_S: Final = 60.0
# What somebody said holds for so long after it was last said.
STATED_NS: Final = 30 * 86_400 * 10**9
_USUAL_RUNS = 2000.0


@dataclass(slots=True)
class _User:
    runs: deque[SeenRun] = field(default_factory=lambda: deque(maxlen=RUNS_KEPT))
    claims: Claims = field(default_factory=Claims)
    changed: bool = True
    # What was stated falls due; and what is said of the user, of all commands (empty) and by command.
    due_ns: int = 0
    words: Mapping[str, str] = field(default_factory=dict)


class PreferenceLearner:
    """Bounded memory of what users did: the 96 latest runs of the 4,000 users seen last, by digest under `salt`.

    Without a salt nothing is learned. `settle` draws conclusions from what is new since it was last asked;
    `profile` tells them. Runs come in order of their end, as far as that is known.
    """

    def __init__(self, salt: str) -> None:
        self._salt = salt
        self._pace = CommandPace()
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._usual: OrderedDict[str, Usual] = OrderedDict()
        self._users_of_runs: OrderedDict[str, str] = OrderedDict()
        self._commands: Mapping[str, str] = {}

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account; one whose user is not known only says how long the command takes."""
        command, seconds = execution.command.name, execution.duration_s
        quickness = self._pace.quickness(command, seconds) if execution.timed else None
        if execution.timed and execution.outcome is Outcome.COMPLETED:
            self._pace.add(command, seconds)
        digest = user_digest(execution.user_id, self._salt)
        if digest:
            self._seen(digest, execution, quickness)

    def judge(self, trace_id: str, evaluations: Iterable[Evaluation]) -> None:
        """Take in scores that came when the run they are about was seen already."""
        score = user_score(evaluations)
        if score is None:
            return
        user = self._users.get(self._users_of_runs.get(trace_id, ""))
        run = next((one for one in user.runs if one.trace_id == trace_id), None) if user is not None else None
        if user is not None and run is not None:
            run.score, user.changed = score, True
            self._rated(user, run)

    def settle(self, now_ns: int) -> None:
        """Conclude what is new."""
        for user in self._users.values():
            if user.changed or 0 < user.due_ns <= now_ns:
                self._conclude(user, now_ns)
        self._commands = preferred_by_most(
            (command, self._level(user, command, now_ns))
            for user in self._users.values()
            for command in user.claims.commands()
        )

    def profile(self, user: str, command: str, now_ns: int) -> PreferenceProfile:
        """Return what a user (a digest) prefers at a command, as of the last `settle`; backs off to user and command."""
        known = self._users.get(user)
        here = _NOBODY if known is None else self._level(known, command, now_ns)
        if here.preference or here.basis == NONE_SHOWN:
            return _profile(user, command, OF_USER_AND_COMMAND, here)
        of_user = _NOBODY if known is None else self._level(known, "", now_ns)
        if of_user.preference:
            return _profile(user, command, OF_USER, of_user)
        word = self._commands.get(command, "")
        if word:
            return _profile(user, command, OF_COMMAND, Claim(word, BEHAVIOUR))
        return _profile(user, command, OF_USER_AND_COMMAND, here)

    @property
    def commands(self) -> Mapping[str, str]:
        """What most users of a command prefer, for those of whom nothing is known."""
        return self._commands

    def words(self) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """Yield every user of whom something is to be told, as of the last `settle`: digest, word, and words by command.

        Words by command are those that differ. `none` keeps what others prefer from being taken for the user's.
        """
        for digest, user in reversed(self._users.items()):
            word = user.words.get("", "")
            if word == NO_PREFERENCE and not self._commands:
                word = ""
            elsewhere = {
                command: here
                for command, here in user.words.items()
                if command and here != word and (here != NO_PREFERENCE or word or command in self._commands)
            }
            if word or elsewhere:
                yield digest, word, elsewhere

    def users(self) -> Iterator[tuple[str, Sequence[SeenRun]]]:
        """Yield every user known and the user's runs, oldest first; who was seen last comes first."""
        for digest, user in reversed(self._users.items()):
            yield digest, tuple(user.runs)

    def state(self) -> Mapping[str, Any]:
        """Return everything as plain data, from which another goes on; users are digests in it."""
        return {
            "salt": self._salt,
            "pace": self._pace.state(),
            "usual": {command: astuple(usual) for command, usual in self._usual.items()},
            "users": {
                digest: ([astuple(run) for run in user.runs], user.claims.state())
                for digest, user in self._users.items()
            },
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on where another stood; under another salt users cannot be told, and nothing is taken over."""
        if state.get("salt") != self._salt:
            return
        self._pace.go_on(state["pace"])
        self._usual = OrderedDict((command, Usual(*numbers)) for command, numbers in state["usual"].items())
        self._users = OrderedDict()
        for digest, (runs, claims) in state["users"].items():
            user = self._users[digest] = _User()
            user.runs.extend(SeenRun(*values) for values in runs)
            user.claims.go_on(claims)
            for run in user.runs:
                self._users_of_runs[run.trace_id] = digest

    # --- one run ---

    def _seen(self, digest: str, execution: Execution, quickness: float | None) -> None:
        user = self._users.setdefault(digest, _User())
        self._users.move_to_end(digest)
        if len(self._users) > MAX_USERS:
            self._users.popitem(last=False)
        run = seen_run(execution, quickness)
        self._settle_last(user, run, execution.command.start_ns)
        user.runs.append(run)
        self._rated(user, run)
        user.changed = True
        self._users_of_runs[run.trace_id] = digest
        if len(self._users_of_runs) > MAX_RUNS_OF_USERS:
            self._users_of_runs.popitem(last=False)
        if run.slow:
            usual = self._usual_of(run.command)
            usual.slow += 1.0
            usual.interrupted += float(run.interrupted)

    def _settle_last(self, user: _User, run: SeenRun, start_ns: int) -> None:
        """Whether the run before was asked again is known now."""
        last = next((one for one in reversed(user.runs) if one.command == run.command), None)
        if last is None or last.asked_again is not None:
            return
        last.asked_again = 0 <= start_ns - last.end_ns <= ASKED_AGAIN_S * 1e9
        if last.quick and not last.interrupted:
            usual = self._usual_of(run.command)
            usual.quick += 1.0
            usual.asked_again += float(last.asked_again)

    def _rated(self, user: _User, run: SeenRun) -> None:
        """What one user thinks of quick runs is part of what all do, against that user's own usual score."""
        if run.score is None or run.quickness is None:
            return
        scores = [one.score for one in user.runs if one.score is not None and one is not run]
        if len(scores) < LEAST_RATED:
            return
        usual, off = self._usual_of(run.command), run.quickness - 0.5
        usual.pull += off * (run.score - sum(scores) / len(scores))
        usual.spread += off * off

    def _usual_of(self, command: str) -> Usual:
        usual = self._usual.setdefault(command, Usual())
        self._usual.move_to_end(command)
        if len(self._usual) > MAX_USUAL:
            self._usual.popitem(last=False)
        if max(usual.slow, usual.quick) > _USUAL_RUNS:
            usual.slow, usual.interrupted = usual.slow / 2, usual.interrupted / 2
            usual.quick, usual.asked_again = usual.quick / 2, usual.asked_again / 2
            usual.pull, usual.spread = usual.pull / 2, usual.spread / 2
        return usual

    # --- conclusions ---

    def _conclude(self, user: _User, now_ns: int) -> None:
        user.changed = False
        commands = {run.command for run in user.runs}
        user.claims.keep_only({"", *commands})
        of_all = self._evidence(tuple(user.runs), now_ns)
        user.claims.weigh("", of_all)
        for command in commands:
            runs = [run for run in user.runs if run.command == command]
            user.claims.weigh(command, self._evidence(runs, now_ns) if len(commands) > 1 else of_all)
        stated_ns = [run.end_ns + STATED_NS + 1 for run in user.runs if run.stated]
        user.due_ns = min((due_ns for due_ns in stated_ns if due_ns > now_ns), default=0)
        words = {command: _word(self._level(user, command, now_ns)) for command in ("", *commands)}
        user.words = {command: word for command, word in words.items() if word}

    def _evidence(self, runs: Sequence[SeenRun], now_ns: int) -> Evidence:
        nothing = Usual()
        return evidence_of(runs, lambda command: self._usual.get(command, nothing), now_ns)

    def _level(self, user: _User, command: str, now_ns: int) -> Claim:
        """Return what one user's runs say, of one command or (empty) of all."""
        words = _stated(user.runs, command, now_ns)
        if len(words) == 1:
            return Claim(words.pop(), STATED, user.claims.evidence(command))
        if not command and (len(words) > 1 or user.claims.differ()):
            return Claim("", TOO_LITTLE, user.claims.evidence(command))
        return user.claims.claim(command)


def _word(claim: Claim) -> str:
    return claim.preference or (NO_PREFERENCE if claim.basis == NONE_SHOWN else "")


def _stated(runs: Iterable[SeenRun], command: str, now_ns: int) -> set[str]:
    """Return what was stated last for each command that counts, as long as that holds."""
    last: dict[str, str] = {}
    for run in runs:
        if run.stated and run.end_ns >= now_ns - STATED_NS and command in ("", run.command):
            last[run.command] = run.stated
    return set(last.values())


def _profile(user: str, command: str, level: str, claim: Claim) -> PreferenceProfile:
    evidence = claim.evidence
    sides = max(0, ENOUGH_EACH - min(evidence.slow, evidence.quick))
    needed = max(ENOUGH_RUNS - evidence.runs, sides, 1) if claim.basis == TOO_LITTLE else 0
    return PreferenceProfile(user, command, claim.preference, claim.basis, level, evidence, needed)


_NOBODY = Claim("", TOO_LITTLE)
