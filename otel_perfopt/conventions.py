"""Every attribute, event, metric and unit name that this package emits or reads: names in, nothing else."""

from __future__ import annotations

from typing import Final

# --- GenAI semantic conventions ---------------------------------------------------------------
# https://github.com/open-telemetry/semantic-conventions-genai (Development). The constants in the
# PyPI package are marked deprecated, so the names are kept here.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
# Input tokens include cached tokens and output tokens include reasoning tokens.
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"  # name until 2026-08
GEN_AI_USAGE_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_EVALUATION_RESULT_EVENT: Final = "gen_ai.evaluation.result"
GEN_AI_EVALUATION_NAME: Final = "gen_ai.evaluation.name"
GEN_AI_EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
GEN_AI_EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
GEN_AI_EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

OPERATION_CHAT: Final = "chat"
OPERATION_GENERATE_CONTENT: Final = "generate_content"
OPERATION_TEXT_COMPLETION: Final = "text_completion"
OPERATION_EMBEDDINGS: Final = "embeddings"
OPERATION_RETRIEVAL: Final = "retrieval"
OPERATION_CREATE_AGENT: Final = "create_agent"
OPERATION_INVOKE_AGENT: Final = "invoke_agent"
OPERATION_INVOKE_WORKFLOW: Final = "invoke_workflow"
OPERATION_PLAN: Final = "plan"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"

# MCP (semantic-conventions-genai, docs/mcp): a client's call and a server's answer are a span each.
MCP_METHOD_NAME: Final = "mcp.method.name"
MCP_RESOURCE_URI: Final = "mcp.resource.uri"
MCP_TOOLS_CALL: Final = "tools/call"
MCP_RESOURCES_READ: Final = "resources/read"

# --- General semantic conventions -------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVER_ADDRESS: Final = "server.address"
ERROR_TYPE: Final = "error.type"
USER_ID: Final = "user.id"
USER_ROLES: Final = "user.roles"
SESSION_ID: Final = "session.id"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
METRIC_OVERFLOW: Final = "otel.metric.overflow"

# --- Ours: there is no convention for these ---------------------------------------------------
STEP_KIND: Final = "perfopt.step.kind"
STEP_COMMAND: Final = "command"
STEP_THINKING: Final = "thinking"
STEP_INFERENCE: Final = "inference"
STEP_TOOL: Final = "tool"
STEP_MODULE_LOAD: Final = "module_load"
STEP_OTHER: Final = "other"
COMMAND_NAME: Final = "perfopt.command.name"
COMMAND_OUTCOME: Final = "perfopt.command.outcome"
TOOL_EFFECTS: Final = "perfopt.tool.effects"
PROMPT_DIGEST: Final = "perfopt.prompt.digest"  # which system instructions a model call had
ARGUMENTS_DIGEST: Final = "perfopt.tool.arguments.digest"
RESULT_DIGEST: Final = "perfopt.tool.result.digest"
RESULT_TOKENS: Final = "perfopt.tool.result.tokens"
RESULT_SHORTER_TOKENS: Final = "perfopt.tool.result.shorter_tokens"  # written as a table, where that is shorter
TOOL_RESOURCE: Final = "perfopt.tool.resource"
DATAFLOW_INPUTS: Final = "perfopt.dataflow.inputs"
DATAFLOW_OUTPUTS: Final = "perfopt.dataflow.outputs"
DATAFLOW_TRUNCATED: Final = "perfopt.dataflow.truncated"
REQUESTED_BY: Final = "perfopt.requested_by"
DURATION_ESTIMATED: Final = "perfopt.duration.estimated"
CONTEXT_RESENT_TOKENS: Final = "perfopt.context.resent_tokens"
CONTEXT_SAVED_TOKENS: Final = "perfopt.context.saved_tokens"  # estimated: not sent, since the context was shortened
CONTEXT_WINDOW_TOKENS: Final = "perfopt.context.window_tokens"
TIME_TO_FIRST_TOKEN: Final = "perfopt.time_to_first_token"  # noqa: S105 - a duration, not a password
QUEUE_TIME: Final = "perfopt.queue.time"  # seconds a call of a model waited for its turn
CONCURRENCY_LIMIT: Final = "perfopt.concurrency.limit"
CONCURRENCY_IN_FLIGHT: Final = "perfopt.concurrency.in_flight"
CONCURRENCY_WAITING: Final = "perfopt.concurrency.waiting"
COST_USD: Final = "perfopt.cost.usd"
CACHE_HIT: Final = "perfopt.cache.hit"
SPECULATIVE: Final = "perfopt.speculative"
SOURCE_LOCATION: Final = "perfopt.source.location"
MODULE_NAME: Final = "perfopt.module.name"
MODULE_SELF_TIME: Final = "perfopt.module.self_time"
MODULE_MAIN: Final = "__main__"  # the name under which a process's whole start is a load
MODULE_IMPORTER: Final = "perfopt.module.importer"  # whose import statement loaded it
MODULE_SPARED_TIME: Final = "perfopt.module.spared_time"  # seconds of the start that putting it off would save
MODULE_START: Final = "perfopt.module.start"  # the trace of the start that loaded it
MODULE_USED_AFTER: Final = "perfopt.module.used_after"  # seconds from the end of the start to its first use
PROCESS_START_TIME: Final = "perfopt.process.start_time"  # CPU seconds of a process until its first command
COMMAND_MEMORY: Final = "perfopt.command.memory.rss"  # bytes resident when the command ended
REQUEST_DIGEST: Final = "perfopt.inference.request.digest"  # equal for requests that ask the same of the same model
TOOLS_OFFERED: Final = "perfopt.context.tools.offered"  # how many tools a model call was told of
TOOLS_OFFERED_TOKENS: Final = "perfopt.context.tools.tokens"  # about how long their descriptions are
TOOLS_DESCRIBED: Final = "perfopt.context.tools.described"  # "name=tokens" of each of them
REPEATED_PROMPT_TOKENS: Final = "perfopt.context.repeated_tokens"  # of instructions that the prompt says twice
ARGUMENT_LEAVES: Final = "perfopt.tool.arguments.leaves"  # "path=digest" of the single values in the arguments
RESULT_LEAVES: Final = "perfopt.tool.result.leaves"  # the same of the result

UNTIMED: Final = "perfopt.untimed"  # on a command: its times only give an order
TOKENS_ESTIMATED: Final = "perfopt.usage.estimated"  # token counts come from the length of text
OUTPUT_LOWER_BOUND: Final = "perfopt.usage.output_lower_bound"  # the source kept a partial count of output tokens
COMMAND_ACTIVE_TIME: Final = "perfopt.command.active_time"  # seconds, without waits for the user
WAITS_FOR_USER: Final = "perfopt.waits_for_user"  # the duration is mostly a person's
USER_SEGMENT: Final = "perfopt.user.segment"  # what kind of user, in the host's words
PREFERENCE: Final = "perfopt.preference"  # of whoever asks; also the name of the W3C baggage entry that states it
PREFERENCE_SOURCE: Final = "perfopt.preference.source"  # stated, environment or learned
TOOL_EXECUTION_TIME: Final = "perfopt.tool.execution_time"  # seconds, as the tool itself reports them

# In the telemetry store only: how a row's text becomes the record it was made of.
STORE_TYPES: Final = "perfopt.store.types"
STORE_LOCATION: Final = "perfopt.store.location"
STORE_EXACT: Final = "perfopt.store.exact"

POLICY_PREFIX: Final = "perfopt.policy."


def policy_attribute(policy: str, field: str) -> str:
    """Return the span attribute that holds one `field` (arm, digest, stage, allocation) of a policy's decision."""
    return f"{POLICY_PREFIX}{policy}.{field}"


POLICY_ARM: Final = "arm"
POLICY_DIGEST: Final = "digest"
POLICY_STAGE: Final = "stage"
POLICY_ALLOCATION: Final = "allocation"
POLICY_UNIT: Final = "unit"  # a digest of what was allocated, where no other attribute tells it apart
POLICY_VALUE: Final = "value"  # what a treated unit has of the parameter that the policy tunes
# Counts of one run, under the policy's name on the command's span.
POLICY_HITS: Final = "hits"
POLICY_MISSES: Final = "misses"
POLICY_TRUE_HITS: Final = "shadow.true_hits"
POLICY_FALSE_HITS: Final = "shadow.false_hits"
# What replies took from texts that would have been sent otherwise: values, runs of words.
POLICY_USED: Final = "shadow.used"
POLICY_USED_KEPT: Final = "shadow.used_kept"  # of these, what would still have been there
POLICY_STARTED: Final = "started"
POLICY_CLAIMED: Final = "claimed"
POLICY_REFUSED: Final = "refused"  # not made early, for want of budget
POLICY_WASTED: Final = "wasted"
POLICY_DISCARDED: Final = "discarded"
POLICY_SAVED_NS: Final = "saved_ns"
POLICY_RETRIES: Final = "retries"
POLICY_HEDGES: Final = "hedges"  # twins of slow calls
POLICY_STORE_FAULTS: Final = "store_faults"  # no answer in time from a store that processes share
POLICY_STORE_HITS: Final = "store_hits"  # of the hits, those that another process's call gave
POLICY_WAITED_NS: Final = "waited_ns"  # in the queue of `adaptive_concurrency`
POLICY_SAVED_TOKENS: Final = "saved_tokens"  # estimated
POLICY_APPLIED: Final = "applied"  # requests to a model that were changed, or would have been
POLICY_LEFT_WHOLE: Final = "left_whole"  # requests to a model that a provider's cache makes cheaper as they are

# Faults of our own code: one event each, and how many in the run (`POLICY_FAULTS`, `FAULTS`).
FAULT_EVENT: Final = "perfopt.fault"
FAULT_OPTIMIZATION: Final = "perfopt.optimization"
BREAKER_STATE: Final = "perfopt.breaker.state"
POLICY_FAULTS: Final = "faults"  # exceptions of this package while it acted for the policy
FAULTS: Final = "perfopt.faults"  # the same where no one policy can be named

# Waste and the critical path of one run, on the command's span (seconds and shares), so that traces can be searched.
WASTED_TOOL_TIME: Final = "perfopt.waste.tool_time"  # of read calls that gave the same again for the same arguments
REPEATED_CALLS: Final = "perfopt.waste.repeated_calls"
RESENT_SHARE: Final = "perfopt.context.resent_share"
PARALLELISM_REACHED: Final = "perfopt.parallelism.reached"  # busy over elapsed time of tools and model calls
PARALLELISM_POSSIBLE: Final = "perfopt.parallelism.possible"  # the same with reads of one reply made together
CRITICAL_PATH_INFERENCE: Final = "perfopt.critical_path.inference_time"
CRITICAL_PATH_TOOL: Final = "perfopt.critical_path.tool_time"
CRITICAL_PATH_TOP: Final = "perfopt.critical_path.top"  # the step with most time on it, as "tool read_file"

# --- Metrics: name and unit, by the house rules of the semantic conventions ---------------------
METRIC_COMMAND_DURATION: Final = ("perfopt.command.duration", "s")
METRIC_INFERENCE_DURATION: Final = ("perfopt.inference.duration", "s")
METRIC_THINKING_DURATION: Final = ("perfopt.thinking.duration", "s")
METRIC_TOOL_DURATION: Final = ("perfopt.tool.duration", "s")
METRIC_MODULE_DURATION: Final = ("perfopt.module.duration", "s")
METRIC_FIRST_TOKEN: Final = ("perfopt.inference.time_to_first_token", "s")
METRIC_TOKENS: Final = ("perfopt.tokens", "{token}")
METRIC_COST: Final = ("perfopt.cost", "USD")
METRIC_COMMAND_COST: Final = ("perfopt.command.cost", "USD")
METRIC_CONTEXT_TOKENS: Final = ("perfopt.context.tokens", "{token}")
METRIC_CONTEXT_USE: Final = ("perfopt.context.utilization", "1")
METRIC_RESENT_SHARE: Final = ("perfopt.command.resent_share", "1")
METRIC_PARALLELISM_REACHED: Final = ("perfopt.command.parallelism.reached", "1")
METRIC_PARALLELISM_POSSIBLE: Final = ("perfopt.command.parallelism.possible", "1")
METRIC_MEMORY: Final = ("perfopt.command.memory.rss", "By")
METRIC_GC_PAUSE: Final = ("perfopt.command.gc.pause", "s")
METRIC_WASTED_TOOL_TIME: Final = ("perfopt.command.wasted_tool_time", "s")
METRIC_ERRORS: Final = ("perfopt.errors", "{error}")
METRIC_ERROR_TIME: Final = ("perfopt.errors.time", "s")
METRIC_ERROR_COST: Final = ("perfopt.errors.cost", "USD")
METRIC_SATISFACTION: Final = ("perfopt.satisfaction", "1")
METRIC_CAPACITY_DESIRED: Final = (
    "perfopt.capacity.desired",
    "{call}",
)  # at once, for nobody to wait; for an autoscaler
METRIC_CAPACITY_LIMIT: Final = ("perfopt.capacity.limit", "{call}")  # at once, as the provider has shown it bears
METRIC_CAPACITY_WAITING: Final = ("perfopt.capacity.waiting", "{call}")
METRIC_OVERHEAD: Final = ("perfopt.overhead.time", "s")  # CPU time of our own thread
METRIC_FAULTS: Final = ("perfopt.faults", "{fault}")
METRIC_DROPPED: Final = ("perfopt.spans.dropped", "{span}")
METRIC_UNDESCRIBED: Final = ("perfopt.spans.undescribed", "{span}")
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a kind of token
FAULT_KIND: Final = "perfopt.fault.kind"

# --- What the controller says of itself, of each policy and of the goals: name and unit ----------
# Codes and scores have no unit. States, verdicts, guardrails and risks are codes (the tables below): a
# number that changes stays one series, where a label that changes leaves the old series standing.
METRIC_POLICY_STATE: Final = ("perfopt.policy.state", "")
METRIC_POLICY_EXPOSURE: Final = ("perfopt.policy.exposure", "1")  # share of units that are treated
METRIC_POLICY_VERDICT: Final = ("perfopt.policy.verdict", "")
METRIC_POLICY_EFFECT: Final = ("perfopt.policy.effect", "1")  # treatment over baseline minus one, with its interval
METRIC_POLICY_PREDICTED: Final = ("perfopt.policy.predicted_effect", "1")  # as the effect: -0.3 is 30 % less
METRIC_POLICY_GUARDRAIL: Final = ("perfopt.policy.guardrail", "")
METRIC_POLICY_EVIDENCE: Final = ("perfopt.policy.harm_evidence", "1")  # of what shows harm: 1 is shown
# In shadow: of what replies used, what a shorter context kept.
METRIC_POLICY_RETAINED: Final = ("perfopt.policy.retained_share", "1")
METRIC_POLICY_UNITS: Final = ("perfopt.policy.units", "{unit}")
METRIC_POLICY_ROLLBACKS: Final = ("perfopt.policy.rollbacks", "{rollback}")
METRIC_POLICY_CHANGED: Final = ("perfopt.policy.change.time", "s")  # Unix time of the last such change
METRIC_POLICY_WAITING: Final = ("perfopt.policy.approval.waiting_time", "s")  # 0: nothing waits
METRIC_POLICY_REMAINING: Final = ("perfopt.policy.expected_time", "s")  # until a verdict
METRIC_POLICY_RISK: Final = ("perfopt.policy.risk", "")
METRIC_POLICY_PRIORITY: Final = ("perfopt.policy.priority", "")  # what is next: expected share saved, learned from
METRIC_BUDGET_SHARE: Final = ("perfopt.budget.share", "1")  # a command's part of a budget of early calls
METRIC_BUDGET_WORTH: Final = ("perfopt.budget.worth", "s")  # saved by one early call of a command, wasted ones counted
METRIC_GOAL_RESPONSE: Final = ("perfopt.goal.response_time", "s")
METRIC_GOAL_THINKING: Final = ("perfopt.goal.thinking_time", "s")
METRIC_GOAL_TOOLS: Final = ("perfopt.goal.tool_time", "s")
METRIC_GOAL_TOKENS: Final = ("perfopt.goal.tokens", "{token}")
METRIC_GOAL_SUCCESS: Final = ("perfopt.goal.success", "1")
METRIC_GOAL_SATISFACTION: Final = ("perfopt.goal.satisfaction", "")
METRIC_GOAL_IMPROVEMENT: Final = ("perfopt.goal.improvement", "1")  # positive is better, whichever way that is
METRIC_CONTROLLER_TURNS: Final = ("perfopt.controller.turns", "{turn}")
METRIC_CONTROLLER_TURN: Final = ("perfopt.controller.turn.duration", "s")
METRIC_CONTROLLER_CPU: Final = ("perfopt.controller.cpu.time", "s")
METRIC_CONTROLLER_MEMORY: Final = ("perfopt.controller.memory.rss", "By")
METRIC_CONTROLLER_RUNS: Final = ("perfopt.controller.runs", "{run}")
METRIC_CONTROLLER_PROBLEMS: Final = ("perfopt.controller.problems", "{problem}")  # that stand now
METRIC_CONTROLLER_UNREAD: Final = ("perfopt.controller.unread", "{line}")  # pieces of telemetry that could not be read
METRIC_CONTROLLER_FAULTS: Final = ("perfopt.controller.faults", "{fault}")  # while these metrics were made
METRIC_LEDGER_HEALTHY: Final = ("perfopt.ledger.healthy", "")  # 0: nothing new comes into force
METRIC_KILLED: Final = ("perfopt.killed", "")
METRIC_SNAPSHOT_TIME: Final = ("perfopt.snapshot.time", "s")  # Unix time at which the lease began
METRIC_SNAPSHOT_LEASE: Final = ("perfopt.snapshot.lease", "s")
METRIC_SNAPSHOT_DECISIONS: Final = ("perfopt.snapshot.decisions", "{decision}")

POLICY: Final = "perfopt.policy"
OPTIMIZATION: Final = FAULT_OPTIMIZATION
CHANGED_FROM: Final = "perfopt.change.from"
CHANGED_TO: Final = "perfopt.change.to"
COMPARED_METRIC: Final = "perfopt.metric"
COMPARED_ROLE: Final = "perfopt.role"  # goal, guardrail, sample_ratio
ARM: Final = "perfopt.arm"
BUDGET: Final = "perfopt.budget"
INTERVAL_PART: Final = "perfopt.interval"
INTERVAL_ESTIMATE: Final = "estimate"
INTERVAL_LOW: Final = "low"
INTERVAL_HIGH: Final = "high"
GOAL: Final = "perfopt.goal"
GOAL_VALUE: Final = "perfopt.goal.value"
GOAL_REFERENCE: Final = "reference"  # as without any optimization
GOAL_CURRENT: Final = "current"
GOAL_TARGET: Final = "target"
GOAL_ACHIEVED: Final = "achieved"
GOAL_ASKED: Final = "asked"

STATE_CODES: Final = {
    "new": 0,
    "dormant": 1,
    "proposed": 2,
    "awaiting approval": 3,
    "shadow": 4,
    "canary": 5,
    "active": 6,
    "inconclusive": 7,
    "rolled back": 8,
    "rejected": 9,
    "retired": 10,
    "killed": 11,
}
VERDICT_CODES: Final = {"waiting": 0, "better": 1, "inconclusive": 2, "worse": 3}
GUARDRAIL_CODES: Final = {"harmed": -1, "not shown": 0, "held": 1}
RISK_CODES: Final = {"low": 1, "medium": 2, "high": 3}

# The controller's log record for each new head of the ledger.
LEDGER_HEAD_EVENT: Final = "perfopt.ledger.head"
LEDGER_SEQUENCE: Final = "perfopt.ledger.sequence"
LEDGER_HASH: Final = "perfopt.ledger.hash"

INSTRUMENTATION_SCOPE: Final = "otel_perfopt"
