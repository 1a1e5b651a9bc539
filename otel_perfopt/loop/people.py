"""What the controller knows of the people behind the runs: runs in, a bounded table of preferences for agents out.

Users are digests under the folder's salt from the first moment on; no id is kept, written or told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from otel_perfopt.analyse.preference_learner import PreferenceLearner
from otel_perfopt.analyse.preference_profile import PreferenceProfile
from otel_perfopt.decide.personalization import MAX_COMMAND_CHARS, MAX_COMMANDS, MAX_USERS, Personalization
from otel_perfopt.decide.user_salt import make_user_salt, user_salt
from otel_perfopt.execution.model import Evaluation, Execution

_LOG = logging.getLogger(__name__)


class People:
    """The users of one home folder; `may_write` lets it draw a salt when the first user comes.

    Nothing here raises, and nothing stops because of it: `problem` says what is wrong, and nobody is told
    apart as long as it is.
    """

    def __init__(self, home: Path, *, may_write: bool = False) -> None:
        self._home = home
        self._may_write = may_write
        self._kept: Mapping[str, Any] | None = None
        self._learner: PreferenceLearner | None = None
        self._salt = ""
        self.problem = ""

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        try:
            learner = self._learner or (self._begin() if execution.user_id else None)
            if learner is not None:
                learner.observe(execution)
        except Exception as error:
            self._fault(error)

    def judge(self, trace_id: str, evaluations: Iterable[Evaluation]) -> None:
        """Take in scores that came when the run they are about was read already."""
        try:
            if self._learner is not None:
                self._learner.judge(trace_id, evaluations)
        except Exception as error:
            self._fault(error)

    def table(self, now_ns: int) -> Personalization:
        """Return what agents may be told: who was seen last comes first until it is full."""
        try:
            self._salt = self._salt or user_salt(self._home)
            if self._learner is None:
                return Personalization(self._salt)
            self._learner.settle(now_ns)
            return _table(self._salt, self._learner)
        except Exception as error:
            self._fault(error)
            return Personalization(self._salt)

    def profiles(self, user: str, now_ns: int) -> tuple[PreferenceProfile, ...]:
        """Return what a user (a digest) prefers at each command used; nothing of one who is not known."""
        if self._learner is None:
            return ()
        self._learner.settle(now_ns)
        runs = next((runs for digest, runs in self._learner.users() if digest == user), ())
        commands = sorted({run.command for run in runs})
        return tuple(self._learner.profile(user, command, now_ns) for command in commands)

    def state(self) -> Mapping[str, Any]:
        """Return everything as plain data, from which another goes on; users are digests in it."""
        return self._learner.state() if self._learner is not None else {}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on where another stood, as soon as the salt is known."""
        self._kept = state or None
        if state and user_salt(self._home):
            self._begin()

    def _begin(self) -> PreferenceLearner | None:
        self._salt = self._salt or (make_user_salt(self._home) if self._may_write else user_salt(self._home))
        if not self._salt:
            return None
        self._learner = PreferenceLearner(self._salt)
        if self._kept is not None:
            self._learner.go_on(self._kept)
        self._kept = None
        return self._learner

    def _fault(self, error: Exception) -> None:
        problem = f"preferences are not learned: {type(error).__name__}: {error}"
        if problem != self.problem:
            self.problem = problem
            _LOG.warning("%s", problem)


def _table(salt: str, learner: PreferenceLearner) -> Personalization:
    commands = {name: word for name, word in learner.commands.items() if len(name) <= MAX_COMMAND_CHARS}
    users: dict[str, str] = {}
    user_commands: dict[str, Mapping[str, str]] = {}
    entries = 0
    for digest, word, by_command in learner.words():
        if entries + 1 + len(by_command) > MAX_USERS:
            break
        if word:
            users[digest] = word
        if by_command:
            user_commands[digest] = by_command
        entries += bool(word) + len(by_command)
    return Personalization(salt, users, user_commands, dict(list(commands.items())[:MAX_COMMANDS]))
