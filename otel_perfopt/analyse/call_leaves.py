"""The single values of a recorded call's arguments and result by their place: a step in, digests by path out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Step
from otel_perfopt.signal.leaf_paths import MAX_LEAVES


def leaves_stated(step: Step) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the leaves of a recorded call's arguments and result, from what its span states of them; else none."""
    return _stated(step.attributes.get(c.ARGUMENT_LEAVES)), _stated(step.attributes.get(c.RESULT_LEAVES))


def _stated(value: object) -> Mapping[str, str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return {}
    pairs = (str(item).rpartition("=") for item in value[:MAX_LEAVES])
    return {path: digest for path, equals, digest in pairs if equals}
