"""The words of each family of instrumentations in, ours out: one table, no code.

Official GenAI and MCP (open-telemetry/semantic-conventions-genai, and the names it had before),
OpenInference (Arize-ai/openinference, spec/semantic_conventions.md), OpenLLMetry (traceloop/openllmetry,
opentelemetry-semantic-conventions-ai), the spans of Anthropic's own client (anthropic, since 2.0),
Claude Code (code.claude.com/docs/en/monitoring-usage), and Gemini CLI (google-gemini/gemini-cli,
docs/cli/telemetry.md). What the real packages write was seen in tests/dialect; what is from
documentation only is said in docs/instrumentations.md.
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
    "gen_ai.response.time_to_first_chunk": c.TIME_TO_FIRST_TOKEN,
    "gen_ai.workflow.name": c.COMMAND_NAME,
    "gen_ai.user": c.USER_ID,
    "enduser.id": c.USER_ID,
    "mcp.resource.uri": c.TOOL_RESOURCE,
    "github.copilot.tool.parameters.file_path": c.TOOL_RESOURCE,
    "anthropic.message.stop_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
    # OpenInference
    "llm.request.model_name": c.GEN_AI_REQUEST_MODEL,
    "llm.response.model_name": c.GEN_AI_RESPONSE_MODEL,
    "llm.finish_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
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
    "gen_ai.is_streaming": c.GEN_AI_REQUEST_STREAM,
    "llm.is_streaming": c.GEN_AI_REQUEST_STREAM,
    "gen_ai.response.finish_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
    "gen_ai.response.stop_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
    "llm.response.finish_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
    "llm.response.stop_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
    "llm.user": c.USER_ID,
    "traceloop.association.properties.session_id": c.GEN_AI_CONVERSATION_ID,
    "traceloop.association.properties.conversation_id": c.GEN_AI_CONVERSATION_ID,
    "traceloop.association.properties.user_id": c.USER_ID,
}

# The same, but only where nothing else says it: a LangGraph thread is the conversation if no session is named.
WEAK_NAMES: Final = {
    "traceloop.association.properties.thread_id": c.GEN_AI_CONVERSATION_ID,
}

# The reply's model, or the request's where no request is recorded; the two are apart elsewhere.
EITHER_MODEL: Final = "llm.model_name"

# Why a reply ended, in each provider's words -> the conventions' (gen-ai-output-messages.json, FinishReason).
FINISH_REASONS: Final = {
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "safety": "content_filter",
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
    "stop_reason": c.GEN_AI_RESPONSE_FINISH_REASONS,
}

# Milliseconds in their words -> seconds in ours.
MILLISECONDS: Final = {"ttft_ms": c.TIME_TO_FIRST_TOKEN, "copilot_chat.time_to_first_token": c.TIME_TO_FIRST_TOKEN}

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

# What an MCP method is -> (operation, kind). Listing, pinging and opening a session are neither.
MCP_METHODS: Final = {
    c.MCP_TOOLS_CALL: (c.OPERATION_EXECUTE_TOOL, c.STEP_TOOL),
    c.MCP_RESOURCES_READ: (c.OPERATION_RETRIEVAL, "retrieval"),
}

# Scopes (how they begin) of spans that a provider's client or server writes itself, whatever instruments it.
CLIENT_SCOPES: Final = ("com.anthropic.sdk.", "com.anthropic.claude-platform")

# Only on a tool's span: where its name, arguments and result may be. OpenInference's `tool.parameters`
# is the tool's schema from most of its instrumentations and the arguments from a few.
TOOL_NAME_FALLBACKS: Final = ("traceloop.entity.name",)
TOOL_SCHEMA_OR_ARGUMENTS: Final = "tool.parameters"
ARGUMENT_NAMES: Final = (
    c.GEN_AI_TOOL_CALL_ARGUMENTS,
    "gen_ai.tool.arguments",
    "tool_call.function.arguments",
    "mcp.request.argument",
    "input.value",
    "traceloop.entity.input",
    TOOL_SCHEMA_OR_ARGUMENTS,
    "tool_input",
    "full_command",
    "input-json",
)
RESULT_NAMES: Final = (
    c.GEN_AI_TOOL_CALL_RESULT,
    "gen_ai.tool.result",
    "mcp.response.value",
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
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "gen_ai.task.input",
        "gen_ai.task.output",
        "gen_ai.headers",
        "github.copilot.tool.parameters.command",
        "copilot_chat.hook_command",
        "copilot_chat.hook_input",
        "copilot_chat.hook_output",
        "tool.description",
        "tool.json_schema",
        "embedding.invocation_parameters",
        "llm.choices",
        "llm.function_call",
        "llm.headers",
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
    "llm.choices.",
    "retrieval.documents.",
    "input.images.",
    "output.images.",
    "input.documents.",
    "output.documents.",
    "embedding.embeddings.",
    "reranker.input_documents.",
    "reranker.output_documents.",
)
