"""What a policy may set on `lazy_import`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds, texts


@dataclass(frozen=True, slots=True)
class LazyImportParameters:
    """Which modules load when first used, and which are loaded ahead in the background.

    `modules` and `exclude` are globs over whole module names (`pandas`, `pandas.*`); excluded ones load as
    the agent wrote it. `prefetch` names modules to load, in this order, `prefetch_after_s` after start.
    """

    modules: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefetch: tuple[str, ...] = ()
    prefetch_after_s: float = 1.0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> LazyImportParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type, or neither modules nor anything to prefetch.
        """
        refuse_unknown(raw, ("modules", "exclude", "prefetch", "prefetch_after_s"))
        modules, prefetch = texts(raw, "modules"), texts(raw, "prefetch")
        if not (modules or prefetch):
            raise ValueError("modules: name at least one, or some to prefetch")
        return cls(modules, texts(raw, "exclude"), prefetch, seconds(raw, "prefetch_after_s", cls().prefetch_after_s))
