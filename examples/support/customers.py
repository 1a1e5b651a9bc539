"""The customers who write to support: a seed and a number in, one conversation's commands out."""

from dataclasses import dataclass
from random import Random

from . import catalogue

TASK_FOLLOWS = 0.85  # share of conversations in which a /query is followed by a /task
QUERY_KINDS = ("status", "stock", "policy")
TASK_KINDS = ("refund", "refund", "address", "address", "escalate")
# What a /query may ask the rules for, and the section that answers it.
RULES = {
    "sending goods back": "Returns of goods",
    "damaged articles": "Damaged articles",
    "warranty and repairs": "Warranty and repairs",
    "pick up points": "Pick-up points",
    "vouchers and discounts": "Discounts and vouchers",
    "cancelling orders": "Cancelling an order",
}


@dataclass(frozen=True)
class Command:
    """One thing a customer asks for, and what a right answer is about."""

    conversation: str
    name: str  # "/query" or "/task"
    kind: str
    text: str
    customer_id: str
    order_id: str
    section: str = ""
    sku: str = ""
    amount_cents: int = 0
    address: str = ""


def conversation(seed, number):
    """The commands of one conversation; the same for the same seed and number."""
    random = Random(f"{seed} {number}")
    name = f"s{seed}-{number:05d}"
    customer_id = random.choice(catalogue.customer_ids())
    order_id = random.choice(catalogue.order_ids(customer_id))
    commands = [a_query(random, name, customer_id, order_id)]
    if random.random() < TASK_FOLLOWS:
        commands.append(a_task(random, name, customer_id, order_id))
    return commands


def a_query(random, name, customer_id, order_id):
    kind = random.choice(QUERY_KINDS)
    me = f"I am customer {customer_id}."
    sku, section = "", ""
    if kind == "status":
        section, text = "Delivery times", f"/query Where is my order {order_id}? {me}"
    elif kind == "stock":
        sku, section = random.choice(catalogue.skus()), "Stock and backorders"
        text = f"/query Can I get more of {sku} on top of my order {order_id}? {me}"
    else:
        topic, section = random.choice(list(RULES.items()))
        text = f"/query What is your rule on {topic}? My order is {order_id}. {me}"
    return Command(name, "/query", kind, text, customer_id, order_id, section=section, sku=sku)


def a_task(random, name, customer_id, order_id):
    kind = random.choice(TASK_KINDS)
    me = f"I am customer {customer_id}, order {order_id}, reference {name}."
    amount_cents, address = 0, ""
    if kind == "refund":
        amount_cents = random.randrange(50, 350, 50)
        text = f"/task Refund {amount_cents / 100:.2f} for the scratch. {me}"
    elif kind == "address":
        address = catalogue.an_address(random)
        text = f"/task Change my address to {address}. {me}"
    else:
        text = f"/task Let a person call me about this. {me}"
    return Command(name, "/task", kind, text, customer_id, order_id, amount_cents=amount_cents, address=address)
