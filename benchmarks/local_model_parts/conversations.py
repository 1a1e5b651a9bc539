"""Conversations that fit a small window: recordings or a number in, messages with tools and results out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ORDERS = ("O-1003", "O-1017", "O-1029", "O-1044", "O-1058", "O-1061", "O-1075", "O-1082")
RULES = (
    ("Delivery times", "Parcels arrive within four working days of dispatch inside the country, nine abroad."),
    ("Returns of goods", "Goods can be sent back within thirty days of delivery if they are complete and undamaged."),
    ("Refund rules", "A refund goes back to the means of payment that was used and never exceeds what was paid."),
    ("Change of address", "An address can be changed at any time by the account's owner for parcels not yet sent."),
    ("Damaged articles", "Damage is told within seven days with a photograph; the carrier collects the article."),
    ("Warranty and repairs", "Electrical articles carry a warranty of two years; a repair takes up to three weeks."),
    ("Discounts and vouchers", "Vouchers are good for one year, one for each order, and never paid out in money."),
    ("Pick-up points", "A parcel waits ten days at a pick-up point and goes back to the warehouse after that."),
)
PADDING = (
    "Support confirms in writing what was agreed and names the day by which it will be done. Whoever is not sure asks"
    " a team leader before promising anything. Customers of every tier are treated alike in this."
)


def ours(count: int) -> Iterator[dict[str, Any]]:
    """Yield conversations with a shop's support: rules, three tool calls with results as JSON, and an answer."""
    for number in range(count):
        random = Random(number)
        sections = "\n\n".join(f"## {title}\n\n{rule} {PADDING}" for title, rule in RULES)
        system = f"You work for the support of an online shop. Answer from what the tools say.\n\n# Documentation\n\n{sections}"
        title, _ = random.choice(RULES)
        asked = f"What is your rule on {title.lower()}? And list my parcels. I am customer C-{number:03d}."
        messages = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
        for turn, tool in enumerate(("list_orders", "list_parcels", "list_orders")):
            call = f"call_{number}_{turn}"
            arguments = json.dumps({"customer_id": f"C-{number:03d}"})
            asks = {"id": call, "type": "function", "function": {"name": tool, "arguments": arguments}}
            messages.append({"role": "assistant", "content": "", "tool_calls": [asks]})
            rows = result(Random(f"{number} {tool}"), tool)
            messages.append({"role": "tool", "tool_call_id": call, "content": json.dumps(rows, indent=1)})
        messages.append({"role": "assistant", "content": "That is all there is."})
        yield {"id": f"ours-{number}", "messages": messages, "tools": TOOLS}


def result(random: Random, tool: str) -> list[dict[str, Any]]:
    """Return five rows as a tool of a shop gives them."""
    return [
        {
            "kind": tool.removeprefix("list_"),
            "order_number": order,
            "status_of_order": random.choice(("placed", "packed", "shipped", "delivered")),
            "total_in_cents": random.randrange(2500, 9000, 50),
        }
        for order in random.sample(ORDERS, 5)
    ]


TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": said, "parameters": {"type": "object", "properties": {}}},
    }
    for name, said in (
        ("list_orders", "All orders of a customer"),
        ("list_parcels", "All parcels under way"),
        ("list_refunds", "All refunds so far"),
        ("search_docs", "Look something up"),
    )
]


def tau_bench(data: Path, count: int, most_chars: int) -> Iterator[dict[str, Any]]:
    """Yield recorded airline conversations as far as they fit; the last message that is kept is the model's."""
    with gzip.open(data / "tau-bench" / "gpt-4o-airline.json.gz", "rt") as file:
        recorded = json.load(file)
    found = 0
    for number, item in enumerate(recorded):
        messages: list[dict[str, Any]] = []
        size = 0
        for message in item["traj"]:
            size += len(json.dumps(message))
            if size > most_chars:
                break
            messages.append({**message, "content": message.get("content") or ""})
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()
        results = sum(len(message["content"]) for message in messages if message["role"] == "tool")
        if results > most_chars // 10:
            found += 1
            yield {"id": f"tau-{number}", "messages": [_plain(message) for message in messages], "tools": []}
        if found == count:
            return


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message without what a server does not know, or what is empty."""
    known = ("role", "content", "tool_calls", "tool_call_id", "name")
    return {name: message[name] for name in known if message.get(name) or name == "content"}
