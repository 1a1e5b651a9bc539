from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from otel_perfopt.errors import NoTelemetryError, StoreError
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.telemetry_store import open_store
from store.records import run

OPENER = """
import sys
from otel_perfopt.errors import StoreBusyError
from otel_perfopt.measure.store.telemetry_store import open_store
try:
    open_store(sys.argv[1])
except StoreBusyError as error:
    print(error)
"""


def test_a_second_process_is_told_who_has_the_store(store):
    """The message names the holding process and three ways out, at once."""
    said = subprocess.run(
        [sys.executable, "-c", OPENER, str(store.address)], capture_output=True, text=True, timeout=60, check=True
    )
    assert f"process {os.getpid()} on " in said.stdout
    assert "perfopt serve" in said.stdout
    assert "another folder" in said.stdout


def test_one_process_shares_one_folder_and_is_refused_another(store, tmp_path):
    """The same folder may be opened again; another one is refused with the reason, until the first is closed."""
    with open_store(store.address) as again:
        again.append(run(0))
    assert store.connection.rows("SELECT count() FROM otel_traces") == [(4,)]
    with pytest.raises(StoreError, match="one at a time"):
        open_store(tmp_path / "other")
    store.close()
    with open_store(tmp_path / "other") as other:
        assert other.connection.rows("SELECT count() FROM otel_traces") == [(0,)]


def _ask_in_child(store, answers) -> None:
    try:
        store.connection.rows("SELECT 1")
    except StoreError as error:
        answers.put(str(error))
    store.close()


def test_a_forked_child_is_refused_and_never_hangs(store):
    """In a child every question is refused with the reason, its end disturbs nothing, and the parent goes on."""
    forking = multiprocessing.get_context("fork")
    answers = forking.Queue()
    worker = forking.Process(target=_ask_in_child, args=(store, answers))
    worker.start()
    assert "before this process was forked" in answers.get(timeout=30)
    worker.join(30)
    assert worker.exitcode == 0
    assert store.append(run(0)).added == 4
    said = subprocess.run(
        [sys.executable, "-c", OPENER, str(store.address)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "is open in process" in said.stdout


FORKER = """
import os, sys
from otel_perfopt.measure.store.telemetry_store import open_store
store = open_store(sys.argv[1])
child = os.fork()
if child == 0:
    sys.exit(3)
print(os.waitpid(child, 0)[1] >> 8)
print(store.connection.rows("SELECT 1"))
"""


def test_a_child_that_ends_as_programs_do_does_not_hang(tmp_path):
    """A forked child that runs its exit handlers ends by itself, with its own status."""
    said = subprocess.run(
        [sys.executable, "-c", FORKER, str(tmp_path / "store")], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.split() == ["3", "[(1,)]"]


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path):
    """Opening for reading says how to fill one, and leaves no folder behind."""
    with pytest.raises(NoTelemetryError, match="perfopt store import"):
        open_store(tmp_path / "nothing", create=False)
    assert not (tmp_path / "nothing").exists()


def test_a_server_that_is_not_there_is_named_without_its_password():
    """A refused connection is one line with the address."""
    with pytest.raises(StoreError, match=r"http://127\.0\.0\.1:1/perf") as caught:
        open_store("http://me:hidden@127.0.0.1:1/perf")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://u:p%40ss@host/db", ("host", None, "u", "p@ss", "db", "otel_traces", True)),
        ("http://host:9000", ("host", 9000, "", "", "", "otel_traces", False)),
        ("clickhouse://host/db?table=spans", ("host", None, "", "", "db", "spans", False)),
    ],
)
def test_addresses_are_read(text, said):
    """A URL's parts are what it says."""
    address = StoreAddress.parse(text)
    assert said == (
        address.host,
        address.port,
        address.user,
        address.password,
        address.database,
        address.table,
        address.secure,
    )
    assert "p@ss" not in repr(address) + str(address)


@pytest.mark.parametrize(
    "text", ["ftp://host/db", "http://host/d;b", "http:///db", "http://host:x/", "http://h/?table=a b"]
)
def test_addresses_that_are_none_are_refused(text):
    """What is neither a folder nor a server is an error that says so."""
    with pytest.raises(StoreError):
        StoreAddress.parse(text)
