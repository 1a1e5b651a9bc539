"""A Claude Code session file in, its counts as plain dictionaries out, by walking the raw JSON."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from datetime import datetime

READ_ONLY = {"Read", "Grep", "Glob", "LS", "WebFetch", "WebSearch", "NotebookRead", "TodoRead"}
WRITING = {"Edit", "Write", "MultiEdit", "NotebookEdit"}


def records(path):
    """Every JSON object of the file in order, also where two stand on one line."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            rest = line.strip()
            while rest:
                record, end = json.JSONDecoder().raw_decode(rest)
                yield record
                rest = rest[end:].strip()


def milliseconds(record):
    return round(datetime.fromisoformat(record["timestamp"].replace("Z", "+00:00")).timestamp() * 1000)


def conversation_lines(path):
    """(record, subagent's id or "") of every user and assistant line, subagents' progress unwrapped."""
    seen = set()
    for line in records(path):
        record, agent = line, ""
        if line["type"] == "progress" and line["data"]["type"] == "agent_progress":
            record, agent = line["data"]["message"], line["data"]["agentId"]
        if record["type"] not in ("user", "assistant") or record["uuid"] in seen:
            continue
        seen.add(record["uuid"])
        yield record, agent


def blocks(record, kind):
    content = record["message"]["content"]
    return [block for block in content if block["type"] == kind] if isinstance(content, list) else []


def is_filler(record):
    return record["message"].get("model") == "<synthetic>" and not record.get("isApiErrorMessage")


def said_by_user(record):
    """The text of a prompt, or None for a line that is something else."""
    if record["type"] != "user" or record.get("isMeta") or record.get("isCompactSummary"):
        return None
    if blocks(record, "tool_result"):
        return None
    content = record["message"]["content"]
    text = content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)
    return None if text.startswith(("<local-command-", "[Request interrupted by user")) else text


def command_name(text):
    if not text.startswith("<command-name>"):
        return "prompt"
    return text.split("<command-name>")[1].split("</command-name>")[0]


def calls(path):
    """Every tool call as a dictionary, in the order asked."""
    found = {}
    for record, agent in conversation_lines(path):
        if record["type"] == "assistant":
            for block in blocks(record, "tool_use"):
                found[block["id"]] = {
                    "id": block["id"],
                    "tool": block["name"],
                    "input": block["input"],
                    "message": record["message"]["id"],
                    "agent": agent,
                    "asked_ms": milliseconds(record),
                    "answered_ms": None,
                    "error": False,
                }
        else:
            for block in blocks(record, "tool_result"):
                if block["tool_use_id"] in found:
                    call = found[block["tool_use_id"]]
                    call["answered_ms"] = milliseconds(record)
                    call["error"] = bool(block.get("is_error"))
    return list(found.values())


def messages(path):
    """Every model message by id, with the largest counts any of its lines states (input excludes caches)."""
    found = {}
    for record, agent in conversation_lines(path):
        if record["type"] != "assistant" or is_filler(record):
            continue
        message = found.setdefault(
            record["message"]["id"], {"agent": agent, "usage": Counter(), "tools": 0, "thinking": 0}
        )
        for key, value in record["message"]["usage"].items():
            if isinstance(value, int):
                message["usage"][key] = max(message["usage"][key], value)
        message["tools"] += len(blocks(record, "tool_use"))
        message["thinking"] += len(blocks(record, "thinking"))
    return found


def tokens(path):
    total = Counter()
    for message in messages(path).values():
        usage = message["usage"]
        read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        total["input"] += usage["input_tokens"] + read + written
        total["cache_read"] += read
        total["cache_write"] += written
        total["output"] += usage["output_tokens"]
    return dict(total)


def prompts(path):
    """Each prompt with its name, first and last moment: it lasts until the last thing before the next."""
    found, asked = [], set()
    for record, agent in conversation_lines(path):
        moment = milliseconds(record)
        text = None if agent else said_by_user(record)
        if text is not None:
            found.append({"name": command_name(text), "start_ms": moment, "end_ms": moment})
            asked = set()
        elif found and not record.get("isMeta") and not (record["type"] == "assistant" and is_filler(record)):
            asked.update(block["id"] for block in blocks(record, "tool_use"))
            results = {block["tool_use_id"] for block in blocks(record, "tool_result")}
            if not results or results & asked:
                found[-1]["end_ms"] = max(found[-1]["end_ms"], moment)
    return found


def repeats(path):
    """Exact repeats of read-only calls: all, and those with no writing call since the first."""
    seen, since_write = set(), set()
    every = clean = total = 0
    for call in calls(path):
        if call["tool"] not in READ_ONLY:
            if call["tool"] in WRITING or call["tool"] in ("Bash", "Task"):
                since_write.clear()
            continue
        total += 1
        key = (call["tool"], json.dumps(call["input"], sort_keys=True))
        every += key in seen
        clean += key in since_write
        seen.add(key)
        since_write.add(key)
    return {"read_only_calls": total, "repeats": every, "repeats_without_write_between": clean}


def rereads(path):
    reads = [call["input"].get("file_path") for call in calls(path) if call["tool"] == "Read"]
    return {"reads": len(reads), "rereads": len(reads) - len(set(reads))}


def tool_seconds(path):
    """From request to result, by tool: waits for a permission or for an earlier call are inside."""
    found = defaultdict(float)
    for call in calls(path):
        if call["answered_ms"] is not None:
            found[call["tool"]] += (call["answered_ms"] - call["asked_ms"]) / 1000
    return dict(found)


def summary(path):
    """Everything at once."""
    every_call, every_message = calls(path), messages(path)
    with_tools = [message for message in every_message.values() if message["tools"]]
    return {
        "calls": dict(Counter(call["tool"] for call in every_call)),
        "errors": dict(Counter(call["tool"] for call in every_call if call["error"])),
        "unanswered": sum(call["answered_ms"] is None for call in every_call),
        "messages": len(every_message),
        "thinking": sum(message["thinking"] for message in every_message.values()),
        "tool_messages": len(with_tools),
        "parallel_messages": sum(message["tools"] > 1 for message in with_tools),
        "tokens": tokens(path),
        "prompts": prompts(path),
        **repeats(path),
        **rereads(path),
        "tool_seconds": tool_seconds(path),
    }
