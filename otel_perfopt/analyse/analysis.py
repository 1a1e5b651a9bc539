"""What one pass over a source of runs yields: everything the terminal, HTML and JSON reports are rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.analyse.finding import Finding, Interval
from otel_perfopt.analyse.history import History, LoadCorrelation, Regression
from otel_perfopt.analyse.preference_profile import Preferences
from otel_perfopt.analyse.recommendation import Recommendation
from otel_perfopt.execution.model import NO_TOKENS, StepKind, Target, TokenUsage
from otel_perfopt.signal.source import ReadProblem

ANALYSIS_VERSION = 1


@dataclass(frozen=True, slots=True)
class InputTally:
    """What was read and what could not be: every problem counted by kind, the first 200 kept."""

    files: int = 0
    lines: int = 0
    bytes: int = 0
    spans: int = 0
    problem_counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[ReadProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there was; `timed_runs` are those whose source has a clock, the only ones with durations.

    `unfinished_runs` are in no other number: their command still ran, or its process died.
    `unknown_effects` counts tool calls of which nobody said whether they only read.
    """

    runs: int = 0
    timed_runs: int = 0
    failed_runs: int = 0
    interrupted_runs: int = 0
    unfinished_runs: int = 0
    conversations: int = 0
    inferences: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    unknown_effects: int = 0
    run_time_s: float | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One command, model or tool.

    `count` is runs for a command and calls otherwise. Durations cover the `timed` ones, of which
    `estimated` were inferred by the reader. `critical_s` is time on the critical path and
    `critical_share` its part of all runs' time; `self_s` is time with no child step running. For a
    command `tokens` are its runs', for a tool those of the results it put into the context where
    the source says so, and `waiting` says that its time is mostly a person's (permission, answer).
    """

    target: Target
    name: str
    count: int
    errors: int
    timed: int = 0
    estimated: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    mean_s: float | None = None
    total_s: float | None = None
    critical_s: float | None = None
    critical_share: float | None = None
    self_s: float | None = None
    tokens: TokenUsage = NO_TOKENS
    cost_usd: float | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class TimeShare:
    """Where the runs' time goes: `share` of it spent in one kind of step on the critical path.

    `what` is a `StepKind` value, or `agent` (the command's own time, no step running), or `person`
    (waiting for a permission or an answer).
    """

    what: str
    total_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Thinking:
    """Time and tokens spent thinking; `estimated_share` is the part of the seconds that was inferred."""

    steps: int = 0
    total_s: float | None = None
    share_of_time: float | None = None
    reasoning_tokens: int | None = None
    share_of_output: float | None = None
    estimated_share: float | None = None


@dataclass(frozen=True, slots=True)
class ContextPoint:
    """Input tokens of the n-th model call (from 1) over the `conversations` that got that far."""

    call: int
    conversations: int
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class UsefulShare:
    """How much of what tools put into contexts later replies used: an estimate from the values they have in common.

    `share` is of `carried_tokens`, the results' tokens times the calls of a model that read them; None where too few
    results could be judged (`judged` of `results`). `with_replies` says that the text of replies was looked
    at too, not the arguments of calls alone.
    """

    share: Interval | None = None
    results: int = 0
    judged: int = 0
    carried_tokens: int = 0
    with_replies: bool = False


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How contexts grow, how much of what is sent had been sent before, and how much of it the provider had cached.

    Shares are of all input tokens (0 to 1). `resend_factor` is input tokens over the unique ones
    among them (9.5 = each was sent 9.5 times). Peaks are the largest input of each conversation.
    """

    growth: tuple[ContextPoint, ...] = ()
    first_p50: float | None = None
    peak_p50: float | None = None
    peak_p95: float | None = None
    peak_max: float | None = None
    input_tokens: int | None = None
    resent_tokens: int | None = None
    resent_share: float | None = None
    resend_factor: float | None = None
    cache_read_share: float | None = None
    cache_write_share: float | None = None
    window_peak_share: float | None = None
    useful: UsefulShare = UsefulShare()


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How much tool calls overlapped, and how much they could have.

    Speed-ups are of tool time (1.0 = none): `reached` is the sum of call times over the union of
    their intervals; `possible_within_replies` runs the read-only calls that one reply asked for
    together; `upper_bound_across_replies` also those of different replies that use no value of one
    another's output, which a model would have to ask for at once. Pairs are adjacent read-only
    calls of different replies.
    """

    replies_with_tools: int = 0
    replies_with_several: int = 0
    calls_in_several: int = 0
    overlapping_calls: int = 0
    parallel_reply_share: float | None = None
    reached: float | None = None
    possible_within_replies: float | None = None
    upper_bound_across_replies: float | None = None
    adjacent_read_pairs: int = 0
    independent_pairs: int = 0
    independent_share: float | None = None


@dataclass(frozen=True, slots=True)
class RepeatRow:
    """Calls of one tool repeated with equal arguments in one conversation.

    `safe` repeats have no write (or call of unknown effects) in between; `with_writes` have, so
    that the answer may rightly differ. `time_s` is what the safe repeats took.
    """

    tool: str
    calls: int
    repeats: int
    safe: int
    with_writes: int
    same_result: int
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A resource read again in one conversation: `reads` of it in all, `rereads` after the first of each."""

    resource: str
    reads: int
    rereads: int
    conversations: int


@dataclass(frozen=True, slots=True)
class Repetition:
    """Repeated calls by tool, and re-read resources, most first (at most 20 of each)."""

    calls: int = 0
    read_calls: int = 0
    repeats: int = 0
    safe_repeats: int = 0
    repeat_share: float | None = None
    safe_share: float | None = None
    by_tool: tuple[RepeatRow, ...] = ()
    reads: int = 0
    rereads: int = 0
    reread_share: float | None = None
    resources: tuple[ResourceRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One type of error of one target: how often, and the time and tokens lost to it.

    Lost are the failed call itself and the model call that had to read about it; `retries` counts
    failed calls followed by the same tool.
    """

    error_type: str
    target: Target
    count: int
    share_of_calls: float | None = None
    retries: int = 0
    lost_s: float | None = None
    lost_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps that follow one another: `share` is how often the last follows those before it."""

    steps: tuple[str, ...]
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class NextSteps:
    """What follows what, most frequent first; accuracies are of guesses made before looking at each next step.

    `most_frequent_accuracy` is that of always guessing the commonest one: the floor to beat.
    """

    tool_bigrams: tuple[Pattern, ...] = ()
    tool_trigrams: tuple[Pattern, ...] = ()
    command_bigrams: tuple[Pattern, ...] = ()
    tool_predictions: int = 0
    tool_top1_accuracy: float | None = None
    most_frequent_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One step of a waterfall, in seconds from the run's start; `critical` are its parts on the critical path.

    `depth` is 0 for the command, 1 for its steps, and so on; `waiting` marks time that is a person's.
    """

    span_id: str
    name: str
    kind: StepKind
    depth: int
    start_s: float
    end_s: float
    critical: tuple[tuple[float, float], ...] = ()
    error_type: str | None = None
    estimated: bool = False
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One run to draw: the slowest typical one (at the 95th percentile of duration or next below).

    Bars are in order of start, the command first; `left_out` counts steps beyond the first 400.
    """

    trace_id: str
    conversation_id: str
    location: str
    command: str
    start_ns: int
    duration_s: float
    bars: tuple[Bar, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Opportunity:
    """What replaying the recorded runs with one optimization would have saved.

    `share` is of all runs' `metric` (bootstrap over conversations), `seconds_per_run` or
    `tokens_per_run` the same per run;
    `bound_share` is the oracle: all the time that optimizations of this kind could ever touch.
    `upper_bound` marks a saving that needs the model's help (asking for calls together), and
    `overlaps` names opportunities whose saving is partly the same time, so they must not be added.
    """

    optimization: str
    target: Target
    share: Interval | None
    seconds_per_run: Interval | None
    bound_share: float | None
    runs: int
    runs_helped: int
    conversations: int
    calls: int
    upper_bound: bool = False
    overlaps: tuple[str, ...] = ()
    metric: str = "latency"
    tokens_per_run: Interval | None = None


@dataclass(frozen=True, slots=True)
class SavingPart:
    """What one optimization adds to those before it: a share of all runs' metric."""

    optimization: str
    target: Target
    share: Interval


@dataclass(frozen=True, slots=True)
class CombinedSaving:
    """What all predicted optimizations of one metric save together, nothing counted twice.

    They are replayed in one fixed order, that of `parts`: each part is what its optimization saves
    beyond those before it, so the parts add up to `share`. Bounds are left out.
    """

    metric: str
    share: Interval
    parts: tuple[SavingPart, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one pass over a source found out; shares are 0 to 1, and None means not enough data to say.

    `window_ns` is from the first start to the last end of timed runs (None without a clock).
    Findings are ranked by predicted saving, opportunities on top.
    """

    tally: InputTally
    window_ns: tuple[int, int] | None
    counts: Counts
    commands: tuple[UsageRow, ...] = ()
    models: tuple[UsageRow, ...] = ()
    tools: tuple[UsageRow, ...] = ()
    tokens: TokenUsage = NO_TOKENS
    cost_usd: float | None = None
    time_shares: tuple[TimeShare, ...] = ()
    thinking: Thinking = field(default_factory=Thinking)
    context: ContextUse = field(default_factory=ContextUse)
    parallelism: Parallelism = field(default_factory=Parallelism)
    repetition: Repetition = field(default_factory=Repetition)
    errors: tuple[ErrorRow, ...] = ()
    next_steps: NextSteps = field(default_factory=NextSteps)
    preferences: Preferences = field(default_factory=Preferences)
    histories: tuple[History, ...] = ()
    correlations: tuple[LoadCorrelation, ...] = ()
    regressions: tuple[Regression, ...] = ()
    waterfall: Waterfall | None = None
    opportunities: tuple[Opportunity, ...] = ()
    combined: tuple[CombinedSaving, ...] = ()
    findings: tuple[Finding, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    notes: tuple[str, ...] = ()
    version: int = ANALYSIS_VERSION
