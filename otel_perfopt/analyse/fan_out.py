"""Work on many items over many workers: items and a function in, its results in the items' order out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeVar

from otel_perfopt.errors import FanOutError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting workers and importing the libraries in each costs seconds: below this many items at the cost of
# one series' analysis (some 0.1 s) a single process is done first (benchmarks/series_fan_out.py).
SERIAL_BELOW: Final = 64
SERIAL: Final = "serial"
BACKENDS: Final = (SERIAL, "loky", "threading", "dask", "ray")


def fan_out(
    items: Sequence[Item],
    function: Callable[[Item], Result],
    workers: int = 1,
    backend: str = "loky",
    *,
    serial_below: int = SERIAL_BELOW,
) -> list[Result]:
    """Return `function` of each item, in order.

    With one worker, few items or the backend `serial`, this process does it. `loky` are processes of
    this machine. `dask` and `ray` are those of the cluster that the caller is connected to: a
    `distributed.Client`, or `ray.init`. What `function` raises is raised here.

    Raises:
        FanOutError: there is no such backend, or its package is not installed.
    """
    if backend not in BACKENDS:
        raise FanOutError(f"no such backend: {backend}; one of {', '.join(BACKENDS)}")
    if workers < 2 or len(items) < serial_below or backend == SERIAL:
        return [function(item) for item in items]
    try:
        return _parallel(items, function, workers, backend)
    except ImportError as error:
        raise FanOutError(f"the backend {backend} needs a package that is not installed: {error}") from error


def _parallel(items: Sequence[Item], function: Callable[[Item], Result], workers: int, backend: str) -> list[Result]:
    # Loaded by name: most analyses are small and need neither, and neither ships types.
    joblib: Any = import_module("joblib")
    if backend == "ray":
        import_module("ray.util.joblib").register_ray()
    with joblib.parallel_config(backend=backend, n_jobs=workers):
        # Each message to a worker costs more than one series: a few batches a worker keep all busy to the end.
        size = max(1, len(items) // (workers * 4))
        batches = [items[start : start + size] for start in range(0, len(items), size)]
        done: list[list[Result]] = joblib.Parallel(batch_size=1)(map(joblib.delayed(partial(_each, function)), batches))
    return [result for batch in done for result in batch]


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
