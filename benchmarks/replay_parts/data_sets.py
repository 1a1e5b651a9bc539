"""The data sets that are replayed: nothing in, how each is read, priced and optimized, and what does not apply, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay_parts.recorded_turn import Conversation
from replay_parts.recordings import claude_code, intercode, lmcache, tau_bench
from replay_parts.sent_tokens import AUTOMATIC, OWN_MARKS

REQUESTS = ("context_compression", "prompt_tidy", "response_cache")


@dataclass(frozen=True)
class DataSet:
    """A data set: how it is read and priced, and what applies to it.

    `notes` say what does not apply, and why; what stands `apart` is tried alone and is no part of all together.
    """

    name: str
    read: Callable[[Path, int], Iterator[Conversation]]
    optimizations: tuple[str, ...]
    priced_as: str = ""
    rule: str = AUTOMATIC
    marked: bool = True
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


EQUAL_PROMPTS = (
    "response_cache: in all but mini-swe the recorded prompts leave out what tools said, so equal prompts are "
    "no equal requests; its row shows that, is no saving, and is no part of all together"
)
BELOW_FLOOR = (
    "selective_context: shortened, the first prompts of a conversation would fall below the 1,024 tokens from which "
    "the provider caches, and cost more than they do whole; so they go out whole"
)
NO_BATCHES = "batch_tools: not applicable, no recorded tool has a form for many"
# What is claimed of tools' effects is the readers' own table (signal/tool_effects.py): tau-bench and intercode by
# a function's first word (`get_`, `search_`, `list_`, `query_`, `calculate`, `think` read), Claude Code by name; a
# shell command may do anything.
DATA_SETS = (
    DataSet(
        "tau-bench",
        tau_bench,
        ("tool_cache", "parallel_tools", "preload", *REQUESTS, "selective_context", "prompt_cache"),
        priced_as="gpt-4o",
        own={"selective_context": {"under": ["airline agent policy"], "max_sections": 1, "min_chars": 500}},
        notes=(NO_BATCHES, BELOW_FLOOR, "selective_context: whether answers stay as good is not for a replay to show"),
    ),
    DataSet(
        "claude-code",
        claude_code,
        ("tool_cache", "parallel_tools", "preload", "context_compression", "response_cache"),
        rule=OWN_MARKS,
        marked=False,
        notes=(
            NO_BATCHES,
            "prompt_cache: the agent marks its prompts itself",
            "prompt_tidy, selective_context: system prompt and tools are not in the recording",
        ),
    ),
    DataSet(
        "intercode",
        intercode,
        ("tool_cache", "parallel_tools", "preload", *REQUESTS, "prompt_cache"),
        priced_as="gpt-4o",
        notes=(
            NO_BATCHES,
            "selective_context: there is no system prompt",
            "priced as gpt-4o: GPT-3.5 and GPT-4 are listed no more",
        ),
    ),
    DataSet(
        "lmcache-agent-trace",
        lmcache,
        ("tool_cache", "parallel_tools", *REQUESTS, "prompt_cache"),
        apart=("response_cache",),
        priced_as="gpt-4o",
        notes=(
            NO_BATCHES,
            "tools: shell commands only, which may do anything; their time is inside the model calls'",
            EQUAL_PROMPTS,
            "context_compression: results come as a user's words, which it leaves alone",
            "priced as gpt-4o: no model is named; selective_context: no prompt with sections told apart",
        ),
    ),
)
