"""From which size on a provider caches a prompt: sizes of a prompt whole and shortened in, which to send out."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from otel_perfopt.act.shorter_text import CHARS_A_TOKEN

# What a token read from the cache costs, as a share of a new one: the least that providers charge
# (platform.claude.com/docs/en/build-with-claude/prompt-caching; openai.com/api/pricing, gpt-5 and later). Where one
# charges more, as for gpt-4o, a few prompts too many stay whole, which costs what it cost before.
CACHED_PRICE: Final = 0.1
# The least and the most tokens from which a model's prompts are cached: several where sources or versions differ
# (the page above; platform.openai.com/docs/guides/prompt-caching). The first that fits; models not named are as OpenAI's.
FLOORS: Final[tuple[tuple[str, int, int], ...]] = (
    ("*haiku-4*", 4096, 4096),
    ("*haiku*", 2048, 2048),
    ("*opus-4-[56]*", 4096, 4096),
    ("*opus-4-7*", 2048, 2048),
    ("*opus-4*", 1024, 1024),
    ("*sonnet-4-6*", 1024, 2048),
    ("*sonnet*", 1024, 1024),
    ("*claude*", 512, 4096),
    ("*gemini*", 1024, 4096),
    ("*", 1024, 1024),
)
# Tokens are estimated from characters: prose has up to a quarter fewer, code and JSON up to a quarter more.
UNSURE: Final = 0.25


class CacheFloor:
    """The sizes in characters around which a model's provider begins to cache prompts.

    Below `least` surely nothing is cached, from `most` on surely all but the newest is.
    """

    __slots__ = ("least", "most")

    def __init__(self, model: str) -> None:
        name = model.lower()
        least, most = next((low, high) for pattern, low, high in FLOORS if fnmatchcase(name, pattern))
        self.least = round(least * (1 - UNSURE)) * CHARS_A_TOKEN
        self.most = round(most * (1 + UNSURE)) * CHARS_A_TOKEN

    def refuses(self, whole: int, shortened: int) -> bool:
        """Tell whether a prompt is cheaper whole, because shortened it may be too small to be cached.

        Whole it is paid in full once and then at the price of what is cached; shortened it is paid in
        full every time. Only one that is shorter than that price costs less however often it is sent.
        """
        return whole >= self.least and CACHED_PRICE * whole <= shortened < min(self.most, whole)
