"""The model server's prefix cache: a request's blocks in, how many of its tokens were seen before out."""

from collections import OrderedDict
from hashlib import blake2b

CHARACTERS_PER_TOKEN = 4
BLOCK_CHARACTERS = 256  # 64 tokens
MAX_BLOCKS = 50_000


def count_tokens(text):
    """The example's one counting rule: four characters are a token, and what is left over is one more."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class PrefixCache:
    """Remembers the prefixes of earlier requests, block by block, and forgets those not used for longest."""

    def __init__(self, max_blocks=MAX_BLOCKS):
        self.max_blocks = max_blocks
        self._seen = OrderedDict()

    def read(self, texts):
        """Returns (all tokens, tokens at the start that were seen before), and remembers `texts`.

        `texts` are the parts of a request in order: the tools, then each message. A block counts as
        seen only if everything before it was the same as well.
        """
        total = cached = 0
        chain, unbroken = b"", True
        for text in texts:
            for start in range(0, len(text), BLOCK_CHARACTERS):
                block = text[start : start + BLOCK_CHARACTERS]
                chain = blake2b(chain + block.encode("utf-8", "surrogatepass"), digest_size=16).digest()
                tokens = count_tokens(block)
                total += tokens
                unbroken = unbroken and chain in self._seen
                if unbroken:
                    cached += tokens
                self._seen[chain] = None
                self._seen.move_to_end(chain)
        while len(self._seen) > self.max_blocks:
            self._seen.popitem(last=False)
        return total, cached
