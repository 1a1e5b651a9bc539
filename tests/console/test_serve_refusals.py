"""What `perfopt serve` refuses before it serves anything: one clear line each, and nothing left behind."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from console_parts import POLICY

from otel_perfopt.cli.main import main as command
from otel_perfopt.cli.serve import serve

HOLDER = """import sys
from pathlib import Path
from otel_perfopt.measure.store.telemetry_store import open_store
store = open_store(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
store.close()
"""


def refusal(*options: str) -> str:
    """Return what the command says when it does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "otel_perfopt.cli.main", "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert "token:" not in done.stdout
    return done.stderr


@pytest.mark.parametrize("more", [(), ("--allow-remote",)], ids=["nothing said", "no token for agents"])
def test_it_does_not_listen_beyond_this_machine_by_accident(tmp_path, more):
    """Another address than loopback needs the word and a token for agents."""
    said = refusal("--home", str(tmp_path / "home"), "--host", "0.0.0.0", *more)
    assert "--allow-remote" in said
    assert "--token-file" in said
    assert not (tmp_path / "home").exists()


def test_a_port_that_is_taken_is_said(tmp_path):
    """With its address, and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal("--home", str(tmp_path / "home"), "--port", port)
    assert f"cannot listen at 127.0.0.1:{port}" in said


def test_a_token_that_is_no_secret_is_refused(tmp_path):
    """One that anybody may guess protects nothing."""
    token = tmp_path / "token"
    token.write_text("x\n")
    assert "token" in refusal("--home", str(tmp_path / "home"), "--token-file", str(token))


def test_a_console_token_that_others_may_read_is_refused(tmp_path):
    """Whoever reads it decides for everybody."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "console-token").write_text("a-token-that-is-long-enough\n")
    (home / "console-token").chmod(0o644)
    assert "chmod 600" in refusal("--home", str(home))


def test_policies_of_elsewhere_do_not_hide_those_of_the_home(tmp_path):
    """A home that has its own keeps them until somebody moves them."""
    home, elsewhere = tmp_path / "home", tmp_path / "checkout"
    elsewhere.mkdir()
    (home / "policies").mkdir(parents=True)
    (home / "policies" / "cache.yaml").write_text(POLICY)
    said = refusal("--home", str(home), "--policies", str(elsewhere))
    assert "move its files" in said
    assert (home / "policies" / "cache.yaml").exists()
    assert not (home / "policies").is_symlink()


def test_policies_that_are_nowhere_are_said(tmp_path):
    """A folder that does not exist is a mistake in the command, and no folder is made for it."""
    done = CliRunner().invoke(serve, ["--home", str(tmp_path / "home"), "--policies", str(tmp_path / "nowhere")])
    assert done.exit_code == 2
    assert "does not exist" in done.output
    assert not (tmp_path / "home").exists()
    assert command is not None


def test_a_store_that_another_process_holds_is_said(tmp_path):
    """One process may have an embedded store open; the second says which and what to do, and ends."""
    pytest.importorskip("chdb")
    store = tmp_path / "store"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        said = refusal("--home", str(tmp_path / "home"), "--store", str(store))
        holder.stdin.close()
    assert str(store) in said
    assert "is open in process" in said
