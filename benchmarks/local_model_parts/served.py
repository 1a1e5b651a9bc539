"""The server of llama-cpp-python with one thing more: what of each prompt was evaluated, and what its cache gave.

    python served.py <model.gguf> <context tokens>

Runs in the environment that `environment.py` prepares. Port and model are chosen at start; `READY <port>` is
printed when it listens, and it ends when its standard input is closed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any

import llama_cpp
import uvicorn
from llama_cpp import llama_chat_format, llama_types
from typing_extensions import TypedDict

# The model's own way of writing a chat, with the tools at the very beginning as models that call tools have them.
CHAT = """{% if tools %}{{ '<|im_start|>system\\nTools: ' ~ (tools | tojson) ~ '<|im_end|>\\n' }}{% endif %}
{% for message in messages %}
{{ '<|im_start|>' ~ message['role'] ~ '\\n' ~ (message['content'] or '') }}
{% for call in message['tool_calls'] or [] %}{{ call['function']['name'] ~ call['function']['arguments'] }}{% endfor %}
{{ '<|im_end|>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
CHAT_FORMAT = "chat-with-tools"


class Usage(TypedDict, total=False):
    """A reply's usage as OpenAI says it, with what came from the cache."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


# The server's replies are checked against these types, which know nothing of cached tokens.
llama_types.ChatCompletion.__annotations__["usage"] = Usage


class CountingLlama(llama_cpp.Llama):
    """Counts the tokens of each reply that the model really read or wrote."""

    evaluated = 0
    seen: tuple[int, int] = (0, 0)

    def eval(self, tokens: Any) -> None:
        """Read tokens; what a prefix match spared never comes here."""
        self.evaluated += len(tokens)
        super().eval(tokens)

    def create_completion(self, *args: Any, **kwargs: Any) -> Any:
        """Make a reply whose usage tells the cached tokens; of a streamed one in the last piece."""
        self.evaluated = 0
        prompt = kwargs.get("prompt", args[0] if args else "")
        tokens = len(prompt) if isinstance(prompt, list) else len(self.tokenize(str(prompt).encode(), special=True))
        result = super().create_completion(*args, **kwargs)
        if not kwargs.get("stream"):
            self._tell(result)
            return result
        return self._told(result, tokens)

    def _tell(self, result: Any) -> None:
        usage = result["usage"]
        # The last token that is written is never read again.
        read = self.evaluated - max(0, usage["completion_tokens"] - 1)
        usage["prompt_tokens_details"] = {"cached_tokens": max(0, usage["prompt_tokens"] - read)}

    def _told(self, pieces: Any, prompt_tokens: int) -> Any:
        read = None
        for piece in pieces:
            read = self.evaluated if read is None else read
            yield piece
        CountingLlama.seen = prompt_tokens, read or self.evaluated


def with_usage(chunks: Any) -> Any:
    """Yield a chat's chunks, the last with the usage that a client asks for with `include_usage`."""
    last, count = None, 0
    for chunk in chunks:
        count += bool(chunk["choices"] and chunk["choices"][0]["delta"].get("content"))
        last = chunk
        yield chunk
    if last is not None:
        prompt, read = CountingLlama.seen
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": count,
            "total_tokens": prompt + count,
            "prompt_tokens_details": {"cached_tokens": max(0, prompt - read)},
        }
        yield {**last, "choices": [], "usage": usage}


class ServedLlama(CountingLlama):
    """The model as the server asks it."""

    def create_chat_completion(self, *args: Any, **kwargs: Any) -> Any:
        """Make a chat's reply; a streamed one ends with its usage."""
        result = super().create_chat_completion(*args, **kwargs)
        return with_usage(result) if kwargs.get("stream") else result


def main() -> None:
    model, context = sys.argv[1], int(sys.argv[2])
    llama_cpp.Llama = ServedLlama
    from llama_cpp.server.app import create_app  # noqa: PLC0415 - after the class it makes is exchanged
    from llama_cpp.server.settings import ModelSettings, ServerSettings  # noqa: PLC0415

    form = llama_chat_format.Jinja2ChatFormatter(CHAT, eos_token="<|im_end|>", bos_token="<|im_start|>")
    llama_chat_format.register_chat_completion_handler(CHAT_FORMAT)(form.to_chat_handler())
    settings = ModelSettings(
        chat_format=CHAT_FORMAT,
        model=model,
        model_alias="smollm2",
        n_ctx=context,
        n_threads=1,
        n_threads_batch=1,
        seed=1,
        logits_all=False,
        verbose=False,
        n_batch=256,
    )
    app = create_app(server_settings=ServerSettings(disable_ping_events=True), model_settings=[settings])
    threading.Thread(target=end_with_input, daemon=True).start()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(f"READY {listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
