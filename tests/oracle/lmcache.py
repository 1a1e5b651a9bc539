"""A file of lmcache-agent-trace in, its counts as plain dictionaries out."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file if line.strip()]
    return sorted(found, key=lambda row: row["timestamp"])


def tokens_of(chars):
    return (chars + 3) // 4


def common_chars(left, right):
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))


def summary(path):
    """Counts of one session; resent = longest prefix shared with one of the sixteen prompts before."""
    count = Counter()
    found = rows(path)
    seen = set()
    for number, row in enumerate(found):
        count["inferences"] += 1
        count["input"] += tokens_of(len(row["input"]))
        count["output"] += tokens_of(len(row["output"]))
        earlier = [common_chars(before["input"], row["input"]) for before in found[max(0, number - 16) : number]]
        count["resent"] += max(earlier, default=0) // 4
        commands = re.findall(r"```bash\s*\n(.*?)\n?```", row["output"], re.DOTALL)
        following = found[number + 1]["input"] if number + 1 < len(found) else ""
        news = following[len(row["input"]) :] if following.startswith(row["input"]) else ""
        if len(commands) == 1 and "<returncode>" in news:
            code = news.split("<returncode>")[1].split("</returncode>")[0]
            count["commands"] += 1
            count["failed_commands"] += code != "0"
            count["repeats"] += commands[0].strip() in seen
            seen.add(commands[0].strip())
    span_us = found[-1]["timestamp"] - found[0]["timestamp"] if found else 0
    return {**count, "microseconds": span_us}
