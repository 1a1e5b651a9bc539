from __future__ import annotations

import pytest

from collector.program import program


def test_a_program_that_is_absent_skips_with_what_to_do(monkeypatch):
    """Without the program the test is skipped, and the reason says how to get it."""
    monkeypatch.delenv("PERFOPT_REQUIRE_COLLECTOR", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such-program here; build it"):
        program("such-program", "build it")


def test_an_absent_program_fails_where_it_is_required(monkeypatch):
    """PERFOPT_REQUIRE_COLLECTOR=1 lets no test pass by being skipped."""
    monkeypatch.setenv("PERFOPT_REQUIRE_COLLECTOR", "1")
    with pytest.raises(pytest.fail.Exception, match="no such-program here"):
        program("such-program", "build it")
