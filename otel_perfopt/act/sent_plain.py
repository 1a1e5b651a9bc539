"""Which conversations have gone out as the agent made them: ids in, whether a prefix may be rewritten out."""

from __future__ import annotations

from collections import OrderedDict

MAX_CONVERSATIONS = 20_000


class SentPlain:
    """Remembers the conversations whose beginning a provider has seen unchanged, the last 20,000.

    Rewriting what was sent before would throw the provider's cache of it away and cost more than it
    saves; so such a conversation stays as it is to its end. Not locked: a lost note costs one cached prefix.
    """

    def __init__(self, limit: int = MAX_CONVERSATIONS) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, None] = OrderedDict()

    def note(self, conversation_id: str) -> None:
        """A request of this conversation is sent unchanged."""
        if conversation_id and conversation_id not in self._seen:
            self._seen[conversation_id] = None
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)

    def __contains__(self, conversation_id: object) -> bool:
        return conversation_id in self._seen
