"""A tau-bench results file in, its counts as plain dictionaries out."""

from __future__ import annotations

import gzip
import json
from collections import Counter

READ_ONLY = ("get", "search", "list", "calculate", "think")


def trajectories(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def written_chars(message):
    """Characters of a message's text and of the tool calls in it."""
    chars = len(message["content"] or "")
    for call in message.get("tool_calls") or []:
        arguments = json.dumps(json.loads(call["function"]["arguments"]), ensure_ascii=False)
        chars += len(call["function"]["name"]) + len(arguments)
    return chars


def tokens_of(chars):
    return (chars + 3) // 4


def summary(path):
    """Counts over all trajectories; tokens at four characters each, resent = what the call before was given."""
    calls, errors, count = Counter(), Counter(), Counter()
    for entry in trajectories(path):
        count["trajectories"] += 1
        count["failed"] += entry["reward"] <= 0
        names, seen, before, given = {}, set(), 0, 0
        for message in entry["traj"]:
            if message["role"] == "assistant":
                count["inferences"] += 1
                asked = message.get("tool_calls") or []
                count["parallel_messages"] += len(asked) > 1
                count["input"] += tokens_of(before)
                count["resent"] += given
                count["output"] += tokens_of(written_chars(message))
                given = tokens_of(before)
                for call in asked:
                    name = call["function"]["name"]
                    names[call["id"]] = name
                    calls[name] += 1
                    key = (name, json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True))
                    count["repeats"] += key in seen and name.split("_")[0] in READ_ONLY
                    seen.add(key)
            elif message["role"] == "tool":
                errors[message["name"]] += message["content"].startswith("Error")
            before += written_chars(message)
    return {"calls": dict(calls), "errors": {name: n for name, n in errors.items() if n}, **count}
