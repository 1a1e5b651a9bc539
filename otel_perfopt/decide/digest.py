"""What makes two declarations the same: data in, its canonical JSON (RFC 8785) and SHA-256 digest out."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rfc8785
from pydantic import BaseModel

from otel_perfopt.decide.policy import OptimizationPolicy

_DIGEST_PREFIX = "sha256:"
_SALT_LENGTH = 16


def canonical_json(data: Any) -> bytes:
    """Return the one canonical form of JSON data.

    Raises:
        ValueError: it holds what JSON cannot: NaN, an integer beyond 2**53, another type.
    """
    return rfc8785.dumps(data)


def digest_of(data: Any) -> str:
    """Return `sha256:` and the hex digest of the canonical form."""
    return _DIGEST_PREFIX + sha256(canonical_json(data)).hexdigest()


def policy_digest(policy: OptimizationPolicy) -> str:
    """Return the digest of what a policy does: its name and its spec with every default filled in.

    Formatting, comments, owner, annotations and the way a quantity is written (`5m`, `300s`) do not
    matter. What is absent or empty is left out, so a later version may add an optional field without
    voiding approvals, while a changed default does void them.
    """
    return digest_of({"kind": policy.kind, "name": policy.name, "spec": meaning(policy.spec)})


def meaning(model: BaseModel) -> Any:
    """Return a declared model as plain data without what is absent or empty."""
    return _without_empty(model.model_dump(mode="json", by_alias=True, exclude_none=True))


def salt_of(digest: str) -> str:
    """Return the salt of a policy's allocation: the same through all its stages, another for each digest."""
    return digest.removeprefix(_DIGEST_PREFIX)[:_SALT_LENGTH]


def _without_empty(data: Any) -> Any:
    if isinstance(data, dict):
        cleaned = {key: _without_empty(value) for key, value in data.items()}
        return {key: value for key, value in cleaned.items() if value not in ({}, [], "")}
    return [_without_empty(item) for item in data] if isinstance(data, list) else data
