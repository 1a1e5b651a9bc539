"""What may go wrong with each remedy: an optimization's type in, plain sentences for people out."""

from __future__ import annotations

from collections.abc import Mapping

_RISKS: Mapping[str, tuple[str, ...]] = {
    "tool_cache": (
        "A result may be up to one time to live old.",
        "What is cached must not differ between users of a scope.",
    ),
    "parallel_tools": ("A tool that is not safe to call at once may suffer.", "Backends see more calls at a time."),
    "preload": ("Calls that are not used after all are wasted work.", "Only read-only tools may be called early."),
    "batch_tools": ("An error of one item must stay its own.", "The tool needs a form that takes many."),
    "response_cache": ("The same question may deserve another answer by now.",),
    "prompt_cache": ("Writing to a cache that nobody reads again costs more.",),
    "context_compression": (
        "What is cut may have been needed: answers are to be compared.",
        "Changing what a provider has cached costs more than it saves.",
    ),
    "selective_context": ("What is left out may be what a task needs.",),
    "prompt_tidy": ("Words that seemed to repeat may have mattered.",),
    "effort_routing": ("Answers may get worse: watch failures and satisfaction.",),
    "model_routing": (
        "Answers may get worse: watch failures and satisfaction.",
        "Which model got hard tasks was no accident.",
    ),
    "adaptive_concurrency": ("Calls that are held back wait: priorities decide who.",),
    "endpoint_balancing": ("Endpoints may differ in more than speed.",),
    "retry_hedge": ("Calls made twice are load: a budget bounds it.", "A tool declared read-only must be so."),
    "lazy_import": ("A module with side effects at import is loaded later than before.",),
    "gc_tuning": ("Garbage is kept longer: memory may rise.",),
    "warm_up": ("Work done ahead of a peak that does not come is wasted.",),
}


def remedy_risk(optimization: str) -> tuple[str, ...]:
    """Return what may go wrong; every type has something."""
    return _RISKS.get(optimization, ("Nobody has said what may go wrong.",))
