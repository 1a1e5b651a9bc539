"""How a console is run: what the command line said in, frozen settings out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """What one console is: `login_token` lets people change things, `agent_token` lets agents send and fetch.

    Reading is free where `reading_is_free`, which is only right on loopback. `hosts` are the names by which
    it may be addressed, with their ports; anything else is refused, so that no foreign page can speak to it
    under a name of its own. `store` is a store's folder or URL, empty for none.
    """

    home: Path
    login_token: str
    agent_token: str = ""
    hosts: frozenset[str] = frozenset()
    reading_is_free: bool = True
    secure: bool = False
    show_content: bool = False
    store: str = ""
    every_s: float = 2.0
    analyse_every_s: float = 60.0
    proposes: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)


def is_loopback(host: str) -> bool:
    """Tell whether an address only reaches this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, port: int, public_url: str = "") -> frozenset[str]:
    """Return what a `Host` header may say."""
    names = {host if ":" not in host else f"[{host}]"}
    if is_loopback(host):
        names |= {"127.0.0.1", "localhost", "[::1]"}
    found = {f"{name}:{port}".lower() for name in names}
    if port == 80:
        found |= {name.lower() for name in names}
    public = urlsplit(public_url).netloc.lower()
    return frozenset(found | ({public} if public else set()))
