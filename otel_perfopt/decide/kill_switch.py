"""The switches that win over everything: `kill` and `kill.d/<policy>` files in, what is off out."""

from __future__ import annotations

from pathlib import Path

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


def switch_everything_off(home: Path) -> None:
    """Make the kill file of a home folder, whatever state the rest of it is in.

    Raises:
        TransitionError: it cannot be made; the message says what else switches the agents off.
    """
    try:
        KillSwitch(home).switch_off(None)
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
