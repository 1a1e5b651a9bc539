"""The switches that win over everything: `kill` and `kill.d/<policy>` files in, what is off out."""

from __future__ import annotations

import re
from pathlib import Path

from otel_perfopt.decide.model_base import LONGEST_NAME, NAME_PATTERN
from otel_perfopt.errors import TransitionError

KILL_FILE = "kill"
KILL_FOLDER = "kill.d"


class KillSwitch:
    """The kill files of one home folder; agents look at the same files themselves.

    Errors of the file system come as OSError from switching, never from looking: a switch that
    cannot be looked at counts as on.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    @property
    def everything(self) -> bool:
        """Whether everything is switched off."""
        return _is_there(self._home / KILL_FILE)

    def policy(self, name: str) -> bool:
        """Tell whether one policy is switched off by its own file."""
        return _is_there(self._home / KILL_FOLDER / name)

    def policies(self) -> frozenset[str]:
        """Return the names that are switched off by files of their own.

        Raises:
            OSError: the folder is there and cannot be listed.
        """
        try:
            return frozenset(path.name for path in (self._home / KILL_FOLDER).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def switch_off(self, policy: str | None) -> None:
        """Make the file for one policy, or for everything."""
        path = self._path(policy)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def switch_on(self, policy: str | None) -> None:
        """Remove the file for one policy, or for everything."""
        self._path(policy).unlink(missing_ok=True)

    def _path(self, policy: str | None) -> Path:
        return self._home / KILL_FILE if policy is None else self._home / KILL_FOLDER / policy


def switch_off(home: Path, policy: str | None) -> None:
    """Make the kill file of a policy, or of everything (None), whatever state the rest of the folder is in.

    Raises:
        TransitionError: the name is no policy's, or the file cannot be made: the message says what else helps.
    """
    if policy is not None and (len(policy) > LONGEST_NAME or not re.fullmatch(NAME_PATTERN, policy)):
        raise TransitionError(f"{policy!r} can be no policy's name")
    try:
        KillSwitch(home).switch_off(policy)
    except OSError as error:
        raise TransitionError(f"cannot make the kill file: {error}; set PERFOPT_KILL=1 for the agents") from error


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
