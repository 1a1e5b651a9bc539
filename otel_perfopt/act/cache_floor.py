"""From which size on a provider caches a prompt: sizes of a prompt whole and shortened in, which to send out."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from otel_perfopt.act.shorter_text import CHARS_A_TOKEN

# By model: the least and the most tokens from which prompts are cached (two where sources or versions differ), and what
# a cached token costs as a share of a new one (platform.claude.com/docs/en/build-with-claude/prompt-caching;
# platform.openai.com/docs/guides/prompt-caching; ai.google.dev/gemini-api/docs/caching). The first that fits. Models
# not named, as local servers', are taken to cache from the first token, if they do: nothing can be lost there.
FLOORS: Final[tuple[tuple[str, int, int, float], ...]] = (
    ("*haiku-4*", 4096, 4096, 0.1),
    ("*haiku*", 2048, 2048, 0.1),
    ("*opus-4-[56]*", 4096, 4096, 0.1),
    ("*opus-4-7*", 2048, 2048, 0.1),
    ("*opus-4*", 1024, 1024, 0.1),
    ("*sonnet-4-6*", 1024, 2048, 0.1),
    ("*sonnet*", 1024, 1024, 0.1),
    ("*claude*", 512, 4096, 0.1),
    ("*gemini*", 1024, 4096, 0.1),
    ("*gpt-4o*", 1024, 1024, 0.5),
    ("*gpt-4.1*", 1024, 1024, 0.25),
    ("o1*", 1024, 1024, 0.5),
    ("o[34]*", 1024, 1024, 0.25),
    ("*gpt-*", 1024, 1024, 0.1),
)
# Tokens are estimated from characters: prose has up to a quarter fewer, code and JSON up to a quarter more.
UNSURE: Final = 0.25


class CacheFloor:
    """The sizes in characters around which a model's provider begins to cache prompts.

    Below `least` surely nothing is cached, from `most` on surely all but the newest is; `price` is a cached
    token's share of a new one's.
    """

    __slots__ = ("least", "most", "price")

    def __init__(self, model: str) -> None:
        name = model.lower()
        known = (row[1:] for row in FLOORS if fnmatchcase(name, row[0]))
        least, most, self.price = next(known, (0, 0, 0.0))
        self.least = round(least * (1 - UNSURE)) * CHARS_A_TOKEN
        self.most = round(most * (1 + UNSURE)) * CHARS_A_TOKEN

    def refuses(self, whole: int, shortened: int) -> bool:
        """Tell whether a prompt is cheaper whole, because shortened it may be too small to be cached.

        Whole it is paid in full once and then at the price of what is cached; shortened it is paid in
        full every time. Only one that is shorter than that price costs less however often it is sent.
        """
        return whole >= self.least and self.price * whole <= shortened < min(self.most, whole)
