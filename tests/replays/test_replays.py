"""Recorded agents are run again through the runtime: the same results, the recorded time, and a table of what it saves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from replay_parts.data_sets import DATA_SETS
from replay_parts.played import Played
from replay_parts.played_halves import Halves
from replay_parts.recorded_turn import REPLY, Ask, Call, Conversation, Done, Round, Said, Turn
from replay_parts.recordings import executions
from replay_parts.replay_table import saving
from replay_parts.replay_variants import Variant
from replay_parts.sent_tokens import AUTOMATIC
from replay_parts.virtual_loop import VirtualLoop
from replay_parts.world import NotRecorded, World

from otel_perfopt.execution.model import Execution, Step, StepKind, Target, TokenUsage

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "replays.py"
DATA = {data_set.name: data_set for data_set in DATA_SETS}


def halves(name: str, folder: Path, runs: int) -> Halves:
    data_set = DATA[name]
    conversations = list(data_set.read(folder, runs))
    return Halves(conversations, data_set.own, data_set.rule, data_set.priced_as, lambda _: None)


@pytest.mark.parametrize("name", ["tau-bench", "intercode"])
def test_the_table_is_printed_and_no_result_is_false(name, shared_data):
    """One command prints a row for each optimization, beside its bound, and of a few runs every result was the recorded one."""
    command = [sys.executable, str(SCRIPT), "--data", str(shared_data)]
    done = subprocess.run(
        [*command, "--only", name, "--runs", "6"], capture_output=True, text=True, timeout=300, check=True
    )
    lines = [line for line in done.stdout.splitlines() if " [" in line and "useful share" not in line]
    shown = {line.split("  ")[1] for line in lines}
    assert {"tool_cache", "preload", "context_compression", "all together", "prompt_cache, marked"} <= shown
    head = next(line for line in done.stdout.splitlines() if "what it did" in line)
    end = head.index("false") + len("false")
    assert [line[:end].split()[-1] for line in lines] == ["0"] * len(lines)


def test_a_session_takes_its_recorded_time_and_gets_its_recorded_results(shared_data):
    """Of timed sessions the replay lasts as long as the recording, alone and under all optimizations of tools."""
    replay = halves("claude-code", shared_data, 2)
    recorded_s = sum(run.duration_s for run in executions(replay.conversations))
    plain = replay.play(Variant("baseline"))
    treated = replay.play(Variant("all", ("tool_cache", "parallel_tools", "preload", "context_compression")))
    assert sum(row.seconds for row in plain) == pytest.approx(recorded_s, rel=0.05)
    assert [row.wrong for row in (*plain, *treated)] == [[]] * (len(plain) + len(treated))
    assert sum(row.seconds for row in treated) < 1.05 * sum(row.seconds for row in plain)


def test_what_is_cached_comes_near_what_the_recording_says(shared_data):
    """The model of the provider's prefix cache gives the share that a recorded agent really read from it."""
    replay = halves("claude-code", shared_data, 12)
    rows = replay.play(Variant("baseline"))
    asks = [round_.ask for each in replay.conversations for turn in each.turns for round_ in turn.rounds]
    recorded = sum(ask.tokens.cache_read or 0 for ask in asks) / sum(ask.tokens.input or 0 for ask in asks)
    assert sum(row.paid.cached for row in rows) / sum(row.paid.input for row in rows) == pytest.approx(
        recorded, abs=0.03
    )


def planted(number: int, *replies: list[tuple[str, str]]) -> Conversation:
    """Return a run of replies, each of a second, that ask for calls (tool, result) one after another, a second each."""
    rounds: list[Round] = []
    begins, ends, count = 0, 10**9, 0
    for place, asked in enumerate(replies):
        calls: list[Call] = []
        begins, ends, after = ends, ends + 10**9, REPLY
        for tool, result in asked:
            effects = "write" if tool.startswith("update") else "read"
            name = f"{number}-{count}"
            held = Done({"key": "a"}, result)
            calls.append(
                Call(
                    count,
                    name,
                    f"c{count}",
                    tool,
                    effects,
                    held,
                    failed=False,
                    after=after,
                    gap_s=0.0,
                    seconds=1.0,
                    start_ns=begins,
                    end_ns=ends,
                )
            )
            begins, ends, after, count = ends, ends + 10**9, name, count + 1
        said = Said([{"role": "user", "content": f"{place}"}], f"reply {place}")
        rounds.append(Round(Ask("gpt-4o", said, 0.0, 1.0, TokenUsage(10, 5)), tuple(calls)))
    command = Step(f"t{number}", "root", "", StepKind.COMMAND, "task", Target(command="task"), 0, ends)
    execution = Execution(command, (), f"conversation {number}")
    return Conversation(f"conversation {number}", "openai.chat", (Turn(execution, tuple(rounds), 0.0, 0.0),))


def both(optimization: str, *replies: list[tuple[str, str]]) -> tuple[list[Played], list[Played]]:
    """Replay six such runs as they are, and under one optimization."""
    replay = Halves([planted(number, *replies) for number in range(6)], {}, AUTOMATIC, "gpt-4o", lambda _: None)
    return replay.play(Variant("baseline")), replay.play(Variant(optimization, (optimization,)))


def share(plain: list[Played], treated: list[Played]) -> float:
    found = saving(plain, treated, lambda row: row.seconds)
    assert found is not None
    return found.share


def test_a_planted_repeat_saves_its_time():
    """Of six seconds one is spared where a read comes again, and the saving is told as a sixth."""
    plain, cached = both("tool_cache", [("get_a", "1")], [("get_b", "2")], [("get_a", "1")])
    assert all(row.wrong == [] for row in cached)
    assert sum(row.made for row in cached) == 12
    assert share(plain, cached) == pytest.approx(1 / 6, abs=0.03)


def test_planted_reads_of_one_reply_overlap():
    """Of four seconds two are spared where a reply asks for three reads, and the saving is told as a half."""
    plain, together = both("parallel_tools", [("get_a", "1"), ("get_b", "2"), ("get_c", "3")])
    assert all(row.wrong == [] for row in together)
    assert share(plain, together) == pytest.approx(1 / 2, abs=0.03)


@pytest.mark.parametrize("optimization", ["tool_cache", "parallel_tools"])
def test_a_write_between_is_a_barrier(optimization):
    """Where something is written between two equal reads both are made, one after the other, and nothing is false."""
    plain, treated = both(optimization, [("get_a", "1"), ("update_a", "done"), ("get_a", "2")])
    assert all(row.wrong == [] for row in treated)
    assert sum(row.made for row in treated) == 18
    assert share(plain, treated) == pytest.approx(0, abs=0.03)


def test_a_planted_false_hit_is_counted():
    """A world that changes behind the tools' backs shows in the count, which can therefore fail."""
    _, cached = both("tool_cache", [("get_a", "1")], [("get_b", "2")], [("get_a", "3")])
    assert [len(row.wrong) for row in cached] == [1] * 6


def test_a_call_made_too_early_gives_nothing_that_could_pass_for_right():
    """What is read before a write that the recording has before every such read is told from the recorded result."""
    conversation = planted(0, [("update_a", "done"), ("get_a", "2")])
    world = World(conversation)
    template = world.template("get_a")
    assert template is not None

    async def early() -> object:
        return await template.function(key="a")

    assert isinstance(VirtualLoop().finish(early()), NotRecorded)


def test_calls_made_ahead_on_recordings_are_claimed_and_right(shared_data):
    """Rules mined from one half of the trajectories foresee calls of the other, and what is claimed is what was recorded."""
    rows = halves("tau-bench", shared_data, 100).play(Variant("preload", ("preload",)))
    claimed = sum(value for row in rows for name, value in row.counts.items() if name.endswith(".claimed"))
    assert claimed >= 5
    assert all(row.wrong == [] for row in rows)


@pytest.mark.parametrize(("gap_s", "hits"), [(4.0, 1), (400.0, 0)])
def test_a_cached_reply_lives_by_the_clock_of_the_runtime(gap_s, hits):
    """An equal request is answered from the cache within five recorded minutes, and not later."""
    conversation = planted(0, [("get_a", "1")], [("get_a", "1")])
    first, second = conversation.turns[0].rounds
    again = replace(second, ask=replace(first.ask, gap_s=gap_s))
    turns = (replace(conversation.turns[0], rounds=(first, again)),)
    replay = Halves([replace(conversation, turns=turns)], {}, AUTOMATIC, "gpt-4o", lambda _: None)
    (row,) = replay.play(Variant("response_cache", ("response_cache",)))
    assert row.counts["response-cache.hits"] == hits
    assert row.other_replies == 0
