"""A local model: OpenAI chat requests in, scripted replies out, at stated speed; `python -m support.model_server`.

Time to the first token is a fixed part plus the prompt's tokens that its prefix cache has not seen;
after that each written token takes the same time. Requests overlap freely.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from hashlib import blake2b
from itertools import count

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from . import latency
from .decisions import decide, text_of
from .prefix_cache import CHARACTERS_PER_TOKEN, PrefixCache, count_tokens

MODEL = "support-model"
TOKENS_PER_CHUNK = 16
INJECTED = {
    429: {"message": "injected: too many requests", "type": "rate_limit_error", "code": "rate_limit_exceeded"},
    500: {"message": "injected: internal error", "type": "server_error", "code": None},
}


class Model:
    """The state of the served model: its prefix cache and its counts."""

    def __init__(self, error_rate=0.0):
        self.error_rate = error_rate
        self.cache = PrefixCache()
        self.numbers = count(1)
        self.asked = Counter()
        self.stats = {
            "requests": 0,
            "injected_errors": 0,
            "prompt_tokens": 0,
            "cached_tokens": 0,
            "completion_tokens": 0,
        }

    def injected_error(self, body, attempt):
        """The status to fail this attempt with, or None: the same request and attempt fare the same in every run."""
        if not self.error_rate:
            return None
        key = blake2b(body + attempt.encode(), digest_size=8).digest()
        # Whoever asks the same again, after the client has given up, is another attempt.
        self.asked[key] += 1
        again = self.asked[key] - 1
        digest = int.from_bytes(blake2b(key + bytes([again % 256])).digest()[:8] if again else key, "big")
        if digest / 2**64 >= self.error_rate:
            return None
        return 429 if digest % 2 else 500

    def complete(self, request):
        """Decide a reply; returns the message, its finish reason, the usage, and the seconds it takes."""
        reply = decide(request["messages"], offered(request), request.get("parallel_tool_calls") is False)
        number = next(self.numbers)
        message = {"role": "assistant", "content": reply.content or None}
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{number}_{position}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for position, (name, arguments) in enumerate(reply.calls)
            ]
        thought = 0
        if request.get("reasoning_effort"):
            message["reasoning_content"] = thoughts(reply)
            thought = count_tokens(message["reasoning_content"])
        prompt, cached = self.cache.read(prompt_texts(request))
        written = count_tokens(written_text(message)) + thought
        self.count(prompt, cached, written)
        first_s = latency.MODEL_OVERHEAD_S + (prompt - cached) / latency.PREFILL_TOKENS_PER_S
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0},
        }
        head = {"id": f"chatcmpl-{number}", "created": int(time.time()), "model": request.get("model", MODEL)}
        return head, message, "tool_calls" if reply.calls else "stop", usage, first_s

    def count(self, prompt, cached, written):
        self.stats["requests"] += 1
        self.stats["prompt_tokens"] += prompt
        self.stats["cached_tokens"] += cached
        self.stats["completion_tokens"] += written


def offered(request):
    return {tool["function"]["name"] for tool in request.get("tools") or ()}


def prompt_texts(request):
    """The prompt's parts in the order a model reads them: the tools, then each message with its role."""
    if request.get("tools"):
        yield json.dumps(request["tools"])
    for message in request["messages"]:
        yield f"{message['role']}\n{text_of(message)}{written_text(message, content=False)}"


def written_text(message, content=True):
    """What a model writes for a message: its text, and each call's name and arguments."""
    calls = (call["function"] for call in message.get("tool_calls") or ())
    return (content and message["content"] or "") + "".join(f"{call['name']}{call['arguments']}" for call in calls)


def thoughts(reply):
    """What the model thinks before it replies, where it is asked to reason."""
    asked = "; ".join(f"{name} with {', '.join(arguments) or 'nothing'}" for name, arguments in reply.calls)
    return f"I still have to know more, so I ask for {asked}." if asked else "I know enough, so I write the answer."


def pieces(text, tokens=TOKENS_PER_CHUNK):
    size = tokens * CHARACTERS_PER_TOKEN
    return [text[start : start + size] for start in range(0, len(text), size)]


def deltas(message):
    """A message as a stream sends it: (delta, tokens it took to write)."""
    yield {"role": "assistant", "content": "" if message["content"] else None}, 0
    for piece in pieces(message.get("reasoning_content", "")):
        yield {"reasoning_content": piece}, count_tokens(piece)
    for piece in pieces(message["content"] or ""):
        yield {"content": piece}, count_tokens(piece)
    for index, call in enumerate(message.get("tool_calls") or ()):
        name = call["function"]["name"]
        head = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        yield {"tool_calls": [head]}, count_tokens(name)
        for piece in pieces(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, count_tokens(piece)


async def events(head, message, finish, usage, first_s, include_usage):
    """Server-sent events of one streamed reply, each when it is due."""
    head = head | {"object": "chat.completion.chunk"}

    def event(**fields):
        return f"data: {json.dumps(head | fields)}\n\n"

    due = time.monotonic() + first_s
    for delta, tokens in deltas(message):
        due += tokens / latency.DECODE_TOKENS_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
    yield event(choices=[{"index": 0, "delta": {}, "finish_reason": finish}])
    if include_usage:
        yield event(choices=[], usage=usage)
    yield "data: [DONE]\n\n"


def application(model):
    async def chat_completions(http):
        body = await http.body()
        status = model.injected_error(body, http.headers.get("x-stainless-retry-count", "0"))
        if status:
            model.stats["injected_errors"] += 1
            return JSONResponse({"error": INJECTED[status]}, status_code=status)
        try:
            request = json.loads(body)
            head, message, finish, usage, first_s = model.complete(request)
        except (ValueError, KeyError, TypeError) as error:
            problem = {"message": f"invalid request: {error!r}", "type": "invalid_request_error", "code": None}
            return JSONResponse({"error": problem}, status_code=400)
        if request.get("stream"):
            include_usage = (request.get("stream_options") or {}).get("include_usage", False)
            stream = events(head, message, finish, usage, first_s, include_usage)
            return StreamingResponse(stream, media_type="text/event-stream")
        await asyncio.sleep(first_s + usage["completion_tokens"] / latency.DECODE_TOKENS_PER_S)
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return JSONResponse(head | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def models(http):
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "example"}]})

    async def stats(http):
        return JSONResponse(model.stats)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/models", models),
            Route("/stats", stats),
        ]
    )


if __name__ == "__main__":
    from .server_process import serve

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of requests answered with 429 or 500")
    serve(application(Model(parser.parse_args().error_rate)))
