"""The support agent: `/query …` or `/task …` in, the answer for the customer out.

OPENAI_BASE_URL=… OPENAI_API_KEY=… python -m support.agent "/query Where is my order O-1003? I am customer C-002."
"""

import json
import os
import sys
from functools import lru_cache
from threading import Lock
from uuid import uuid4

from openai import OpenAI
from openai.types.chat import ChatCompletionMessage

from .catalogue import KNOWLEDGE
from .errors import ConflictError, NotAllowedError, NotFoundError
from .schemas import TOOL_SCHEMAS
from .tools import TOOLS

SYSTEM_PROMPT = f"""You work for the support of an online shop. A message that begins with /query is a question:
answer it from the shop's data and from the documentation below. A message that begins with /task is something to do:
do it with the tools, and check that it was done. If you could not do it, begin your answer with FAILED: and say why.

# Documentation

{KNOWLEDGE}"""


class TaskFailed(Exception):
    """The customer's task was not done; the text says why."""


one_at_a_time = Lock()  # lru_cache alone lets threads that come together make a client each


@lru_cache(maxsize=1)
def client_for(base_url, api_key):
    return OpenAI(base_url=base_url, api_key=api_key)


def default_client():
    with one_at_a_time:
        return client_for(os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY"))


class SupportAgent:
    """One conversation with one customer."""

    def __init__(self, session_id=None, client=None, model=None, stream=False, on_text=None, max_turns=8):
        self.session_id = session_id or uuid4().hex
        self.client = client or default_client()
        self.model = model or os.environ.get("OPENAI_MODEL", "support-model")
        self.reply = self._streamed_reply if stream else self._whole_reply
        self.on_text = on_text or (lambda text: None)
        self.max_turns = max_turns
        self.messages = [{"role": "system", "content": SYSTEM_PROMPT}]

    def ask(self, text):
        """Handle one command; raises TaskFailed when a task could not be done."""
        command = text.split(maxsplit=1)[0] if text.strip() else ""
        if command == "/query":
            return self.query(text)
        if command == "/task":
            return self.task(text)
        raise ValueError(f"a command begins with /query or /task, not with {command!r}")

    def query(self, text):
        return self._run(text)

    def task(self, text):
        answer = self._run(text)
        if answer.startswith("FAILED:"):
            raise TaskFailed(answer.removeprefix("FAILED:").strip())
        return answer

    def _run(self, text):
        """The conversation remembers what was said, not what was looked up: that would be old by the next command."""
        said = [*self.messages, {"role": "user", "content": text}]
        self.messages = list(said)
        try:
            answer = self._loop()
        except BaseException:
            self.messages = said[:-1]
            raise
        self.messages = [*said, {"role": "assistant", "content": answer}]
        return answer

    def _loop(self):
        for _ in range(self.max_turns):
            message = self.reply()
            self.messages.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                return message.content or ""
            for call in message.tool_calls:
                try:
                    result = TOOLS[call.function.name](**json.loads(call.function.arguments))
                except ConflictError as error:
                    raise TaskFailed(f"{call.function.name}: {error}") from error
                except (NotFoundError, NotAllowedError) as error:
                    result = {"error": str(error)}
                self.messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
        raise TaskFailed(f"no answer after {self.max_turns} turns")

    def _request(self, **more):
        return self.client.chat.completions.create(
            model=self.model,
            messages=self.messages,
            tools=TOOL_SCHEMAS,
            metadata={"session_id": self.session_id},
            **more,
        )

    def _whole_reply(self):
        message = self._request().choices[0].message
        if message.content:
            self.on_text(message.content)
        return message

    def _streamed_reply(self):
        text, calls = [], {}
        with self._request(stream=True, stream_options={"include_usage": True}) as stream:
            for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        text.append(choice.delta.content)
                        self.on_text(choice.delta.content)
                    for part in choice.delta.tool_calls or ():
                        call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                        call["id"] += part.id or ""
                        call["name"] += part.function.name or ""
                        call["arguments"] += part.function.arguments or ""
        tool_calls = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for _, call in sorted(calls.items())
        ]
        return ChatCompletionMessage.model_validate(
            {"role": "assistant", "content": "".join(text) or None, "tool_calls": tool_calls or None}
        )


if __name__ == "__main__":
    agent = SupportAgent()
    for line in sys.argv[1:] or (line.strip() for line in sys.stdin):
        print(agent.ask(line))
