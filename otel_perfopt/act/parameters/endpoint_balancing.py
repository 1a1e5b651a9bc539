"""What a policy may set on `endpoint_balancing`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds, switch, texts, whole


@dataclass(frozen=True, slots=True)
class EndpointBalancingParameters:
    """Where calls may go beside the agent's own endpoint: base URLs of the same API, for the same credentials.

    With `sticky` a conversation stays where it began, since that provider has its prefix cached. After
    `eject_after` failures in a row an endpoint rests for `eject_for_s`.
    """

    endpoints: tuple[str, ...]
    sticky: bool = True
    eject_after: int = 3
    eject_for_s: float = 30.0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> EndpointBalancingParameters:
        """Check and convert.

        Raises:
            ValueError: no endpoint, an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("endpoints", "sticky", "eject_after", "eject_for_s"))
        endpoints = texts(raw, "endpoints")
        if not endpoints or not all(url.startswith(("http://", "https://")) for url in endpoints):
            raise ValueError("endpoints: must be at least one http or https address")
        return cls(
            endpoints,
            switch(raw, "sticky", default=True),
            whole(raw, "eject_after", 3),
            seconds(raw, "eject_for_s", 30.0),
        )
