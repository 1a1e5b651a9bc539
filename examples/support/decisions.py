"""The scripted model: a conversation in, the next reply out (tools to call, or the final answer).

Every decision is made from the messages alone. Figures in an answer come from the tool results in
the conversation and rules from the documentation in the system prompt, so results that are stale or
context that is missing make wrong answers, as they would with a real model.
"""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache

from .catalogue import documents, rule


@dataclass
class Reply:
    """Either `content`, or `calls` as (tool, arguments) in the order asked."""

    content: str = ""
    calls: list = field(default_factory=list)


@dataclass
class Conversation:
    """The running command: what the customer asks for, and the tool results since, oldest first."""

    text: str
    system: str
    results: list

    def find(self, pattern, default=""):
        match = re.search(pattern, self.text)
        return match.group(match.re.groups) if match else default

    @property
    def customer(self):
        return self.find(r"C-\d{3,}")

    @property
    def order(self):
        return self.find(r"O-\d{4,}")

    def latest(self, tool):
        return next((result for name, result in reversed(self.results) if name == tool), {})

    def rule(self):
        """The rule of the section that the last search found, as the system prompt has it."""
        found = self.latest("search_docs").get("results") or [{}]
        body = sections(self.system).get(found[0].get("title"))
        return rule(body) if body else "I have no rule on this at hand."


@lru_cache(maxsize=64)
def sections(system):
    return documents(system)


def read(messages):
    """Take the running command out of a request's messages."""
    last_user = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=None)
    system = "\n".join(text_of(message) for message in messages if message["role"] in ("system", "developer"))
    if last_user is None:
        return Conversation("", system, [])
    names, texts, results = {}, {}, []
    for message in messages[last_user + 1 :]:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool":
            number = message["tool_call_id"]
            texts[number] = referred_to(text_of(message), texts)
            results.append((names.get(number, ""), as_json(texts[number])))
    return Conversation(text_of(messages[last_user]), system, results)


def text_of(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def referred_to(text, texts):
    """What a note like "the same as the result of call 7" points to, as a reader would look it up."""
    note = re.fullmatch(r"\[the same as the result of call (\S+)\]", text)
    return texts.get(note.group(1), text) if note else text


def as_json(text):
    try:
        value = rows_of(json.loads(text))
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}


def rows_of(value):
    """A table of columns and rows read as a list of records, as a reader would; anything else as it is."""
    if isinstance(value, list):
        return [rows_of(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["columns", "rows"]:
        return [dict(zip(value["columns"], map(rows_of, row), strict=True)) for row in value["rows"]]
    return {name: rows_of(item) for name, item in value.items()}


def pounds(cents):
    return f"{cents / 100:.2f}"


# --- What is asked for, stage by stage: each stage is one reply ----------------------------------


def status_calls(c):
    customer, orders = ("get_customer", {"customer_id": c.customer}), ("list_orders", {"customer_id": c.customer})
    search = ("search_docs", {"query": "delivery times of parcels"})
    yield [customer, orders, search]
    shipping = ("shipping_status", {"order_id": c.order})
    yield [("get_order", {"order_id": c.order}), shipping, customer, orders, search]


def stock_calls(c):
    customer, order = ("get_customer", {"customer_id": c.customer}), ("get_order", {"order_id": c.order})
    search = ("search_docs", {"query": "out of stock backorder"})
    yield [customer, order, search]
    yield [
        ("inventory", {"sku": c.find(r"SKU-\d+")}),
        ("list_orders", {"customer_id": c.customer}),
        customer,
        order,
        search,
    ]


def policy_calls(c):
    customer, order = ("get_customer", {"customer_id": c.customer}), ("get_order", {"order_id": c.order})
    search = ("search_docs", {"query": c.find(r"your rule on ([a-z ]+)", "tone and language")})
    yield [customer, order, search]
    yield [
        search,
        ("shipping_status", {"order_id": c.order}),
        ("list_orders", {"customer_id": c.customer}),
        customer,
        order,
    ]


def task_reads(c, first_search, second_search):
    """Everything about the customer at once, and then most of it again."""
    customer, order = ("get_customer", {"customer_id": c.customer}), ("get_order", {"order_id": c.order})
    shipping = ("shipping_status", {"order_id": c.order})
    yield [
        customer,
        ("list_orders", {"customer_id": c.customer}),
        order,
        shipping,
        ("list_notes", {"customer_id": c.customer}),
        ("search_docs", {"query": first_search}),
    ]
    stock = ("inventory", {"sku": c.latest("get_order").get("sku", "")})
    search = ("search_docs", {"query": second_search(c.latest("get_customer").get("tier", ""))})
    yield [stock, search, customer, order]


def refund_calls(c):
    yield from task_reads(c, "refund means of payment", lambda tier: f"refund limit {tier}")
    refund = {
        "customer_id": c.customer,
        "order_id": c.order,
        "amount_cents": refund_cents(c),
        "expected_version": c.latest("get_order").get("version"),
    }
    yield [("refund_order", refund), ("get_order", {"order_id": c.order})]


def address_calls(c):
    yield from task_reads(c, "address changed by owner", lambda _: "address after dispatch redirect")
    update = {
        "customer_id": c.customer,
        "address": c.find(r"address to (.+?)\.(?:\s|$)"),
        "expected_version": c.latest("get_customer").get("version"),
    }
    yield [("update_address", update), ("get_customer", {"customer_id": c.customer})]


def escalate_calls(c):
    yield from task_reads(c, "escalate case to a person", lambda tier: f"escalated cases answered {tier}")
    note = {"customer_id": c.customer, "text": f"{c.text} [{reference(c)}]", "escalated": True}
    yield [("add_note", note), ("list_notes", {"customer_id": c.customer})]


def refund_cents(c):
    return round(float(c.find(r"[Rr]efund (\d+(?:\.\d\d)?)", "0")) * 100)


def reference(c):
    return c.find(r"reference ([\w-]+)", "none")


# --- What is said at the end ---------------------------------------------------------------------


def status_answer(c):
    order, shipping = c.latest("get_order"), c.latest("shipping_status")
    return (
        f"Order {c.order} is {order.get('status')}: {order.get('quantity')} x {order.get('sku')}."
        f" The parcel is at {shipping.get('hub')} and due in {shipping.get('due_in_days')} days;"
        f" it goes to {c.latest('get_customer').get('address')}. {c.rule()}"
    )


def stock_answer(c):
    stock = c.latest("inventory")
    return (
        f"We have {stock.get('available')} of {stock.get('sku')} in the {stock.get('warehouse')} warehouse."
        f" Order {c.order} is {c.latest('get_order').get('status')}. {c.rule()}"
    )


def policy_answer(c):
    return f"{c.rule()} Order {c.order} is {c.latest('get_order').get('status')}."


def refund_answer(c):
    order, refund = c.latest("get_order"), c.latest("refund_order")
    if not shows(order, refund):
        return f"FAILED: the refund does not show in order {c.order}."
    return (
        f"Refunded {pounds(refund_cents(c))} on order {c.order};"
        f" {pounds(order['refunded_cents'])} of {pounds(order['total_cents'])} is refunded in all."
    )


def address_answer(c):
    update = c.latest("update_address")
    if not shows(c.latest("get_customer"), update):
        return f"FAILED: the new address does not show in the record of {c.customer}."
    return f"Parcels for {c.customer} now go to {update['address']}."


def shows(row, written):
    """Whether a row that was read is at least as new as what was written."""
    return "version" in row and "version" in written and row["version"] >= written["version"]


def escalate_answer(c):
    note = c.latest("add_note").get("note_id")
    if note is None:
        return f"FAILED: no note could be left for {c.customer}."
    return f"A person will look into it; your reference is {reference(c)} and the note is number {note}."


SCRIPTS = (
    (r"^/query .*\bwhere is\b", status_calls, status_answer),
    (r"^/query .*\bmore of SKU", stock_calls, stock_answer),
    (r"^/query ", policy_calls, policy_answer),
    (r"^/task .*\brefund\b", refund_calls, refund_answer),
    (r"^/task .*\baddress\b", address_calls, address_answer),
    (r"^/task ", escalate_calls, escalate_answer),
)


def decide(messages, offered, one_at_a_time=False):
    """The next reply, with tools only from `offered`."""
    c = read(messages)
    failed = "FAILED: " if c.text.startswith("/task") else ""
    script = next((script for script in SCRIPTS if re.search(script[0], c.text, re.IGNORECASE)), None)
    if script is None or not (c.customer and c.order):
        return Reply(content=f"{failed}I need a customer number (C-012) and an order number (O-1023).")
    problem = next((result["error"] for _, result in c.results if "error" in result), None)
    if problem:
        return Reply(content=f"{failed}I could not do that: {problem}.")
    _, calls_of, answer = script
    calls = next_calls(calls_of(c), len(c.results), offered)
    return Reply(calls=calls[:1] if one_at_a_time else calls) if calls else Reply(content=answer(c))


def next_calls(stages, done, offered):
    """What is still to be asked of the first stage that is not finished, after `done` results."""
    for stage in stages:
        wanted = [call for call in stage if call[0] in offered]
        if done < len(wanted):
            return wanted[done:]
        done -= len(wanted)
    return []
