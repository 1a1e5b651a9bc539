"""Work is shared out over workers, in order, on this machine and on the clusters that joblib reaches."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import planted
import pytest

from otel_perfopt.analyse.fan_out import fan_out
from otel_perfopt.analyse.histories import outcome_of
from otel_perfopt.errors import FanOutError
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import LATENCY_MEAN

NUMBERS = list(range(40))


def squared_where(number):
    return number * number, os.getpid()


def expected(found):
    return [square for square, _ in found] == [number * number for number in NUMBERS]


def test_few_items_stay_in_this_process():
    """Below the threshold, with one worker or asked for serially, nothing is started."""
    for options in ({"workers": 2}, {"workers": 1, "serial_below": 1}, {"backend": "serial", "serial_below": 1}):
        found = fan_out(NUMBERS, squared_where, **{"workers": 2, **options})
        assert {pid for _, pid in found} == {os.getpid()}
        assert expected(found)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_this_machine_give_the_same_in_order(backend):
    """Two workers, results in the items' order; loky's are other processes."""
    found = fan_out(NUMBERS, squared_where, 2, backend, serial_below=1)
    assert expected(found)
    if backend == "loky":
        assert os.getpid() not in {pid for _, pid in found}


def test_series_are_analysed_by_workers_as_by_one_process():
    """The same histories come out of two loky workers as of this process."""
    rng = np.random.default_rng(0)
    asked = [
        (
            Series(LATENCY_MEAN, Target(command=str(n)), planted.MONDAY_NS, 3600.0, tuple(rng.normal(9, 1, 100))),
            str(n),
            "s",
        )
        for n in range(64)
    ]
    assert outcome_of(asked, workers=2, backend="loky") == outcome_of(asked)


def test_an_unknown_backend_is_refused_by_name():
    """The message says which there are."""
    with pytest.raises(FanOutError, match="one of serial, loky"):
        fan_out(NUMBERS, squared_where, 2, "spark")


def test_what_a_worker_raises_is_raised_here():
    """A failure is not lost."""
    with pytest.raises(ZeroDivisionError):
        fan_out([1, 0], (1).__truediv__, 2, "threading", serial_below=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="dask.distributed is not installed")
def test_two_dask_workers_share_the_work():
    """A local Dask cluster of two worker processes gives the same."""
    from distributed import Client, LocalCluster  # noqa: PLC0415

    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        found = fan_out(NUMBERS, squared_where, 2, "dask", serial_below=1)
    assert expected(found)
    assert os.getpid() not in {pid for _, pid in found}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_two_ray_workers_share_the_work():
    """A local Ray of two worker processes gives the same."""
    import ray  # noqa: PLC0415

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        # Ray's workers cannot import this file: a lambda travels by value.
        found = fan_out(NUMBERS, lambda number: (number * number, os.getpid()), 2, "ray", serial_below=1)
    finally:
        ray.shutdown()
    assert expected(found)
    assert os.getpid() not in {pid for _, pid in found}
