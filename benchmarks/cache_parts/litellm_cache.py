"""A model's reply given again by LiteLLM's cache in memory: microseconds a hit."""

from __future__ import annotations

import litellm
from litellm.caching.caching import Cache

from measure import measure

MESSAGES = [{"role": "system", "content": "be good " * 200}, {"role": "user", "content": "hello"}]


def main() -> None:
    litellm.cache = Cache(type="local")
    litellm.telemetry = False
    ask = lambda: litellm.completion(  # noqa: E731
        model="openai/gpt-4o", messages=MESSAGES, temperature=0, mock_response="hi " * 100, caching=True
    )
    first, second = ask(), ask()
    if first.id != second.id:
        raise SystemExit("the second call was no hit")
    measure(ask)


if __name__ == "__main__":
    main()
