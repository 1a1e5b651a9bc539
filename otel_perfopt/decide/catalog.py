"""What is declared in a home folder now: its files in, the last good version of each and every problem out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from otel_perfopt.decide.approval import NO_GROUPS
from otel_perfopt.decide.boundary import CLOSED_BOUNDARY, DEFAULT_BOUNDARY, SafetyBoundary
from otel_perfopt.decide.digest import digest_of, policy_digest
from otel_perfopt.decide.journal import BOUNDARY_EVENT
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_file import (
    Groups,
    LoadedBoundary,
    LoadedPolicy,
    policy_paths,
    read_boundaries,
    read_groups,
    read_policy_file,
    repeated_names,
)
from otel_perfopt.errors import FieldProblem, InvalidFileError, TransitionError

POLICY_FOLDER = "policies"
BOUNDARY_FILE = "boundary.yaml"
GROUPS_FILE = "groups.yaml"

_T = TypeVar("_T")
_Read = tuple[list[LoadedPolicy], list[FieldProblem]]


class Catalog:
    """The declarations of one home folder.

    A file that cannot be used keeps its last good version in force, also across a restart: the
    ledger holds every document that was ever declared.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._good: dict[str, tuple[LoadedPolicy, ...]] = {}
        self._parsed: dict[str, tuple[bytes, _Read]] = {}
        self._boundaries: tuple[LoadedBoundary, ...] | None = None
        self.policies: Mapping[str, LoadedPolicy] = {}
        self.known: dict[str, LoadedPolicy] = {}
        self.groups: Groups = NO_GROUPS
        self.problems: tuple[FieldProblem, ...] = ()
        self._has_read = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every policy that is declared, or was and can still be read."""
        return tuple(sorted(self.known))

    def loaded(self, name: str) -> LoadedPolicy:
        """Return a policy as it is in force, or as it was last declared.

        Raises:
            TransitionError: nobody ever declared it.
        """
        if name not in self.known:
            raise TransitionError(f"there is no policy {name!r}; there are: {', '.join(self.names) or 'none'}")
        return self.known[name]

    def digest(self, name: str) -> str:
        """Digest of a policy as it is declared now; empty when it is not."""
        return self.policies[name].digest if name in self.policies else ""

    def remember(self, entries: Iterable[LedgerEntry]) -> None:
        """Take in the documents that ledger entries carry; they stand in for files that cannot be read."""
        for entry in entries:
            if "document" in entry.details and not self._has_read:
                self._remember_policy(entry)
            if entry.event == BOUNDARY_EVENT and not self._has_read:
                self._boundaries = _boundaries_again(entry.details.get("documents"))

    def reload(self) -> None:
        """Read every file again."""
        problems: list[FieldProblem] = []
        self._reload_policies(problems)
        self._reload_boundaries(problems)
        self.groups = self._or_kept(self.home / GROUPS_FILE, read_groups, NO_GROUPS, self.groups, problems)
        self.problems = tuple(problems)
        self._has_read = True

    @property
    def boundaries(self) -> tuple[SafetyBoundary, ...]:
        """The boundaries in force; the safe default when none is declared, a closed one when none can be read."""
        if self._boundaries is None:
            return (CLOSED_BOUNDARY,)
        return tuple(loaded.boundary for loaded in self._boundaries) or (DEFAULT_BOUNDARY,)

    @property
    def boundary_documents(self) -> list[Mapping[str, Any]]:
        """The boundaries in force as data, for the ledger."""
        return [loaded.raw for loaded in self._boundaries or ()]

    @property
    def boundary_digest(self) -> str:
        """Digest of the boundaries in force."""
        return digest_of(self.boundary_documents) if self._boundaries is not None else ""

    def _reload_policies(self, problems: list[FieldProblem]) -> None:
        found: dict[str, tuple[LoadedPolicy, ...]] = {}
        folder = self.home / POLICY_FOLDER
        for file in policy_paths(folder) if folder.is_dir() else []:
            name = file.relative_to(self.home).as_posix()
            policies, wrong = self._read(file, name)
            problems.extend(wrong)
            found[name] = self._last_good(name, problems) if wrong else tuple(policies)
        self._good = found
        self._parsed = {name: parsed for name, parsed in self._parsed.items() if name in found}
        self._name_all(problems)

    def _read(self, file: Path, name: str) -> _Read:
        """Read one file; one whose bytes are those of the last time is not parsed again, every turn, for 30 ms."""
        try:
            content = file.read_bytes()
        except OSError:
            return read_policy_file(file, name)
        before = self._parsed.get(name)
        if before is None or before[0] != content:
            # Read once more in there; should it change in between, the bytes kept here differ the next time.
            before = self._parsed[name] = (content, read_policy_file(file, name))
        return before[1]

    def _last_good(self, file: str, problems: list[FieldProblem]) -> tuple[LoadedPolicy, ...]:
        kept = self._good.get(file)
        if kept is None:
            kept = tuple(loaded for loaded in self.known.values() if loaded.file == file)
        if kept:
            names = ", ".join(loaded.name for loaded in kept)
            problems.append(FieldProblem(file, 1, 1, "", f"the last good version stays in force: {names}"))
        return kept

    def _name_all(self, problems: list[FieldProblem]) -> None:
        """Give each name to one policy: to the file that had it before, else to the first."""
        everyone = [loaded for policies in self._good.values() for loaded in policies]
        everyone.sort(key=lambda loaded: self._file_before(loaded.name) != loaded.file)
        problems.extend(repeated_names(everyone))
        named: dict[str, LoadedPolicy] = {}
        for loaded in everyone:
            named.setdefault(loaded.name, loaded)
        self.policies = dict(sorted(named.items()))
        self.known.update(named)

    def _file_before(self, name: str) -> str:
        return self.known[name].file if name in self.known else ""

    def _reload_boundaries(self, problems: list[FieldProblem]) -> None:
        file = self.home / BOUNDARY_FILE
        self._boundaries = self._or_kept(file, read_boundaries, (), self._boundaries, problems)

    @staticmethod
    def _or_kept(file: Path, read: Callable[[Path], _T], absent: _T, kept: _T, problems: list[FieldProblem]) -> _T:
        if not file.exists() and not file.is_symlink():
            return absent
        try:
            return read(file)
        except InvalidFileError as error:
            problems.extend(error.problems)
            return kept

    def _remember_policy(self, entry: LedgerEntry) -> None:
        document, file = entry.details["document"], str(entry.details.get("file", ""))
        try:
            policy = OptimizationPolicy.model_validate(document)
        except ValueError:
            return  # written by a version that allowed something else; its file will be read, or it is gone
        loaded = LoadedPolicy(policy, policy_digest(policy), file, 1, document)
        self.known[entry.policy] = loaded


def _boundaries_again(documents: object) -> tuple[LoadedBoundary, ...] | None:
    if not isinstance(documents, list):
        return None
    try:
        return tuple(LoadedBoundary(SafetyBoundary.model_validate(raw), raw) for raw in documents)
    except ValueError:
        return None
