"""A text given again by GPTCache's exact-match map, without any client around it: microseconds a hit."""

from __future__ import annotations

from gptcache import cache
from gptcache.adapter.api import get, put
from gptcache.manager.factory import manager_factory
from gptcache.processor.pre import get_prompt

from measure import measure

PROMPT = "be good " * 200 + "hello"


def main() -> None:
    cache.init(pre_embedding_func=get_prompt, data_manager=manager_factory("map"))
    put(PROMPT, "hi " * 100)
    if get(PROMPT) != "hi " * 100:
        raise SystemExit("the second call was no hit")
    measure(lambda: get(PROMPT))


if __name__ == "__main__":
    main()
