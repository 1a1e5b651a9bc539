"""What each optimization saves on the example agent: the same conversations with and without it, at the same time.

    python benchmarks/savings.py [--conversations 12] [--blocks 3] [--only tool_cache,all]

Every variant answers the same conversations against back ends of its own while the others do the same:
as they are (`baseline`), under a policy that can change nothing (`null`), under each optimization alone,
and under all together. Printed are the medians over conversations of time, tokens and cost beside the
baseline's same conversation, with 95 % bootstrap intervals, the share of answers that were right, and what
the replay of the baseline's own recording predicted. Our own cost is inside every figure. With `--error-rate 0.5`
half of the model's requests fail, beyond what the client's own retries bear: then the share of right answers is
what to look at, how many commands failed, and how many were done in an hour of their customers' time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from savings_parts.figures import Figures, print_table
from savings_parts.variants import VARIANTS, Variant, run_block

TARGETS = """Targets of the specification: command time −30 %, tool execution +35 % (−26 % time), tokens −20 % at held quality."""


def chosen(only: str) -> list[Variant]:
    names = {"baseline", "null", *filter(None, only.split(","))} if only else {variant.name for variant in VARIANTS}
    return [variant for variant in VARIANTS if variant.name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=12, help="in each block")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of model requests that fail")
    parser.add_argument("--only", default="", help="variants besides baseline and null, with commas between")
    options = parser.parse_args()
    variants, figures = chosen(options.only), Figures()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        for block in range(options.blocks):
            first = block * options.conversations
            folder, rate = Path(temporary), options.error_rate
            homes = run_block(stack, folder, variants, first, options.conversations, block, rate)
            for variant in variants:
                figures.read(variant.name, homes[variant.name])
            print(f"block {block + 1} of {options.blocks} done", file=sys.stderr, flush=True)
    print_table(figures, [variant.name for variant in variants])
    print(TARGETS)


if __name__ == "__main__":
    main()
