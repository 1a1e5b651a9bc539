"""The words of each family of instrumentations in, ours out: one table, no code.

Official GenAI (open-telemetry/semantic-conventions-genai, and the names it had before), OpenInference
(Arize-ai/openinference, spec/semantic_conventions.md), OpenLLMetry (traceloop/openllmetry,
opentelemetry-semantic-conventions-ai), Claude Code (code.claude.com/docs/en/monitoring-usage), and
Gemini CLI (google-gemini/gemini-cli, docs/cli/telemetry.md).
"""

from __future__ import annotations

from typing import Final

from otel_perfopt import conventions as c

# A foreign attribute's name -> ours. Where several name one thing, the first found counts.
NAMES: Final = {
    # official, until they were renamed
    "gen_ai.system": c.GEN_AI_PROVIDER_NAME,
    "gen_ai.usage.prompt_tokens": c.GEN_AI_USAGE_INPUT_TOKENS,
    "gen_ai.usage.completion_tokens": c.GEN_AI_USAGE_OUTPUT_TOKENS,
    c.GEN_AI_USAGE_CACHE_CREATION_TOKENS: c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "gen_ai.usage.cache_read_input_tokens": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "gen_ai.usage.cache_creation_input_tokens": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "gen_ai.usage.cached_tokens": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "enduser.id": c.USER_ID,
    # OpenInference
    "llm.model_name": c.GEN_AI_REQUEST_MODEL,
    "llm.provider": c.GEN_AI_PROVIDER_NAME,
    "llm.system": c.GEN_AI_PROVIDER_NAME,
    "llm.token_count.prompt": c.GEN_AI_USAGE_INPUT_TOKENS,
    "llm.token_count.completion": c.GEN_AI_USAGE_OUTPUT_TOKENS,
    "llm.token_count.prompt_details.cache_read": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "llm.token_count.prompt_details.cache_write": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "llm.token_count.completion_details.reasoning": c.GEN_AI_USAGE_REASONING_TOKENS,
    "llm.cost.total": c.COST_USD,
    "tool.name": c.GEN_AI_TOOL_NAME,
    "tool.id": c.GEN_AI_TOOL_CALL_ID,
    "tool_call.id": c.GEN_AI_TOOL_CALL_ID,
    "agent.name": c.GEN_AI_AGENT_NAME,
    "session.id": c.GEN_AI_CONVERSATION_ID,
    "embedding.model_name": c.GEN_AI_REQUEST_MODEL,
    # OpenLLMetry
    "llm.request.model": c.GEN_AI_REQUEST_MODEL,
    "llm.response.model": c.GEN_AI_RESPONSE_MODEL,
    "llm.usage.prompt_tokens": c.GEN_AI_USAGE_INPUT_TOKENS,
    "llm.usage.completion_tokens": c.GEN_AI_USAGE_OUTPUT_TOKENS,
    "gen_ai.usage.reasoning_tokens": c.GEN_AI_USAGE_REASONING_TOKENS,
    "llm.usage.reasoning_tokens": c.GEN_AI_USAGE_REASONING_TOKENS,
    "llm.usage.cache_read_input_tokens": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "llm.usage.cache_creation_input_tokens": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "traceloop.association.properties.session_id": c.GEN_AI_CONVERSATION_ID,
    "traceloop.association.properties.conversation_id": c.GEN_AI_CONVERSATION_ID,
    "traceloop.association.properties.user_id": c.USER_ID,
}

# Claude Code's names are everyday words, so they count only on its own spans.
CLAUDE_CODE_PREFIX: Final = "claude_code."
CLAUDE_CODE_SCOPE: Final = "com.anthropic.claude_code"
CLAUDE_CODE_NAMES: Final = {
    **NAMES,
    "model": c.GEN_AI_REQUEST_MODEL,
    "input_tokens": c.GEN_AI_USAGE_INPUT_TOKENS,
    "output_tokens": c.GEN_AI_USAGE_OUTPUT_TOKENS,
    "cache_read_tokens": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "cache_creation_tokens": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "tool_name": c.GEN_AI_TOOL_NAME,
    "tool_use_id": c.GEN_AI_TOOL_CALL_ID,
    "result_tokens": c.RESULT_TOKENS,
    "file_path": c.TOOL_RESOURCE,
    "subagent_type": c.GEN_AI_AGENT_NAME,
}

# Milliseconds in their words -> seconds in ours.
MILLISECONDS: Final = {"ttft_ms": c.TIME_TO_FIRST_TOKEN}

# Where a span says what it does, the most reliable first.
OPERATION_NAMES: Final = (c.GEN_AI_OPERATION_NAME, "openinference.span.kind", "traceloop.span.kind")

# What it says there (lower case) -> the official operation; what is not here stays as it is.
OPERATIONS_BY_VALUE: Final = {
    "llm": c.OPERATION_CHAT,
    "llm_call": c.OPERATION_CHAT,
    "message": c.OPERATION_CHAT,
    "completion": c.OPERATION_TEXT_COMPLETION,
    "tool": c.OPERATION_EXECUTE_TOOL,
    "tool_call": c.OPERATION_EXECUTE_TOOL,
    "retriever": c.OPERATION_RETRIEVAL,
    "reranker": c.OPERATION_RETRIEVAL,
    "embedding": c.OPERATION_EMBEDDINGS,
    "agent": c.OPERATION_INVOKE_AGENT,
    "agent_call": c.OPERATION_INVOKE_AGENT,
    "user_prompt": c.OPERATION_INVOKE_AGENT,
    "chain": c.OPERATION_INVOKE_WORKFLOW,
    "workflow": c.OPERATION_INVOKE_WORKFLOW,
    "graph": c.OPERATION_INVOKE_WORKFLOW,
}

# An operation -> the step's kind. Agents and workflows are absent on purpose.
KINDS_BY_OPERATION: Final = {
    c.OPERATION_CHAT: c.STEP_INFERENCE,
    c.OPERATION_GENERATE_CONTENT: c.STEP_INFERENCE,
    c.OPERATION_TEXT_COMPLETION: c.STEP_INFERENCE,
    c.OPERATION_EXECUTE_TOOL: c.STEP_TOOL,
    c.OPERATION_RETRIEVAL: "retrieval",
    c.OPERATION_EMBEDDINGS: "retrieval",
    "search_memory": "retrieval",
    c.OPERATION_PLAN: c.STEP_THINKING,
}

# Spans known by name alone -> (operation, kind). The parts of a Claude Code tool call are inside
# its own span, and must not count as calls again.
SPAN_NAMES: Final = {
    "claude_code.interaction": (c.OPERATION_INVOKE_AGENT, c.STEP_COMMAND),
    "claude_code.llm_request": (c.OPERATION_CHAT, c.STEP_INFERENCE),
    "claude_code.tool": (c.OPERATION_EXECUTE_TOOL, c.STEP_TOOL),
    "claude_code.tool.blocked_on_user": ("", "other"),
    "claude_code.tool.execution": ("", "other"),
    "claude_code.hook": ("", "other"),
}

# Only on a tool's span: where its name, arguments and result may be.
TOOL_NAME_FALLBACKS: Final = ("traceloop.entity.name",)
ARGUMENT_NAMES: Final = (
    c.GEN_AI_TOOL_CALL_ARGUMENTS,
    "gen_ai.tool.arguments",
    "tool_call.function.arguments",
    "tool.parameters",
    "input.value",
    "traceloop.entity.input",
    "tool_input",
    "full_command",
    "input-json",
)
RESULT_NAMES: Final = (
    c.GEN_AI_TOOL_CALL_RESULT,
    "gen_ai.tool.result",
    "output.value",
    "traceloop.entity.output",
    "tool_output",
    "output-json",
)

# Content, which no record keeps.
CONTENT_NAMES: Final = frozenset(
    {
        *ARGUMENT_NAMES,
        *RESULT_NAMES,
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "gen_ai.tool.description",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.request.instructions",
        "llm.prompts",
        "llm.completions",
        "llm.invocation_parameters",
        "llm.request.functions",
    }
)
CLAUDE_CODE_CONTENT: Final = CONTENT_NAMES | {
    "user_prompt",
    "new_context",
    "system_prompt_preview",
    "response.model_output",
    "tools",
}
CONTENT_PREFIXES: Final = (
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "llm.completions.",
    "llm.tools.",
    "llm.request.functions.",
    "llm.prompt_template.",
    "retrieval.documents.",
    "embedding.embeddings.",
    "reranker.input_documents.",
    "reranker.output_documents.",
)
