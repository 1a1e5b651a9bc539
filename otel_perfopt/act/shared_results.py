"""Results that several processes share through Redis: a call's key in, a result no write has made untrue out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4

from otel_perfopt.act.redis_workers import RedisWorkers, UnavailableError

PREFIX: Final = "perfopt"
MAX_UNTOLD: Final = 1024
# A version is a word nobody has used before, so that one that is forgotten (evicted, expired) makes nothing true again.
VERSION_S: Final = 7 * 86_400

# Keys: the entry, the lock, then the versions that count. Gives the entry if it was read under these very
# versions, else whether this process leads now; and the versions.
_LOOK: Final = """
local versions = {}
for i = 3, #KEYS do
  local version = redis.call('GET', KEYS[i])
  if not version then
    version = ARGV[1]
    redis.call('SET', KEYS[i], version, 'EX', ARGV[3])
  end
  versions[#versions + 1] = version
end
local now = table.concat(versions, ':')
local entry = redis.call('GET', KEYS[1])
if entry then
  local head = string.find(entry, '\\n', 1, true)
  if head and string.sub(entry, 1, head - 1) == now then return {now, entry, 0} end
end
local leads = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return {now, false, leads and 1 or 0}
"""
_UNLOCK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis knows of a call: its `text` (JSON) and how long it took; else whether this process makes it now."""

    key: str
    versions: str
    token: str
    text: str | None = None
    duration_ns: int = 0
    leads: bool = False


class SharedResults:
    """Results under one policy's namespace, each with the versions under which it was read.

    A write changes the version of what it may touch when it begins and when it ends, so what was read
    before or beside it is never given out after it. A version that could not be changed is changed as soon
    as Redis answers again; until then this process asks it nothing, and for the others the time to live
    is the bound.
    """

    def __init__(self, workers: RedisWorkers) -> None:
        self._workers = workers
        self._untold: dict[str, None] = {}

    def look(self, key: str, versions: Sequence[str], lock_s: float) -> Look:
        """Return what is known of a call.

        Raises:
            UnavailableError: Redis gave no answer in time.
        """
        look, token = self._question(key, versions, lock_s)
        return _look(key, token, self._workers.ask(look))

    async def look_async(self, key: str, versions: Sequence[str], lock_s: float) -> Look:
        """Do the same in a coroutine."""
        look, token = self._question(key, versions, lock_s)
        return _look(key, token, await self._workers.ask_async(look))

    def keep(self, look: Look, text: str | None, ttl_s: float, duration_ns: int) -> None:
        """Keep a result that was read after `look`, and let others go; nobody waits for it.

        Raises:
            UnavailableError: there is no room for more work.
        """

        def put(client: Any) -> None:
            if text is not None and ttl_s > 0.001:
                client.set(_entry(look.key), f"{look.versions}\n{duration_ns}\n{text}", px=int(ttl_s * 1000))
            client.eval(_UNLOCK, 1, _lock(look.key), look.token)

        self._workers.tell(put)

    def change_versions(self, versions: Iterable[str]) -> bool:
        """Say that a write may touch what was read under these versions; False where Redis could not be told now."""
        names = list(versions)
        try:
            if names:
                self._workers.ask(partial(self._change, names))
        except UnavailableError:
            return self._tell_later(names)
        return True

    async def change_versions_async(self, versions: Iterable[str]) -> bool:
        """Do the same in a coroutine."""
        names = list(versions)
        try:
            if names:
                await self._workers.ask_async(partial(self._change, names))
        except UnavailableError:
            return self._tell_later(names)
        return True

    def after_fork(self) -> None:
        """Tell nothing that was the parent's to tell."""
        self._untold = {}

    def _tell_later(self, names: Iterable[str]) -> bool:
        if len(self._untold) < MAX_UNTOLD:
            self._untold.update(dict.fromkeys(names))
        # A connection is made, and then this is told, whoever asks next.
        with suppress(UnavailableError):
            self._workers.tell(self._tell_late)
        return False

    def _question(self, key: str, versions: Sequence[str], lock_s: float) -> tuple[Any, str]:
        token = uuid4().hex
        keys = (_entry(key), _lock(key), *(_version(name) for name in versions))

        def look(client: Any) -> Any:
            self._tell_late(client)
            return client.eval(_LOOK, len(keys), *keys, token, max(1, int(lock_s * 1000)), VERSION_S)

        return look, token

    def _change(self, names: Iterable[str], client: Any) -> None:
        self._tell_late(client)
        client.mset({_version(name): uuid4().hex for name in names})

    def _tell_late(self, client: Any) -> None:
        for name in list(self._untold):
            client.set(_version(name), uuid4().hex, ex=VERSION_S)
            self._untold.pop(name, None)


def _look(key: str, token: str, answer: Any) -> Look:
    versions, entry, leads = answer
    now = versions.decode()
    if not entry:
        return Look(key, now, token, leads=bool(leads))
    _, duration, text = entry.decode().split("\n", 2)
    return Look(key, now, token, text, int(duration))


def value_of(look: Look) -> Any:
    """Return the result that was found."""
    assert look.text is not None
    return json.loads(look.text)


def _entry(key: str) -> str:
    return f"{PREFIX}:entry:{key}"


def _lock(key: str) -> str:
    return f"{PREFIX}:lock:{key}"


def _version(name: str) -> str:
    return f"{PREFIX}:version:{name}"
