"""Was an answer right: a command, its answer and when it ran in; None or what is wrong with it out.

Looks straight into the database's audit trail. A figure is right if it was true at some moment while
the command ran; a rule is right if the documentation has it.
"""

import re
from contextlib import closing

from . import catalogue, database, shop_service

# The trail's clock has milliseconds, and a row is seen only after its transaction ends.
SLACK_S = 0.050


def problem_with(path, command, answer, started, ended):
    """What is wrong with `answer`, given between the Unix times `started` and `ended`; None if nothing is."""
    with closing(database.connect(path)) as connection:
        order = versions(connection, "order", command.order_id, started, ended)
        customer = versions(connection, "customer", command.customer_id, started, ended)
        return CHECKS[command.kind](connection, command, answer, order, customer)


def versions(connection, kind, row_id, started, ended):
    """The states of a row that held at some moment between `started` and `ended`."""
    trail = [
        dict(row)
        for row in connection.execute(
            "SELECT * FROM history WHERE kind = ? AND id = ? AND at <= ? ORDER BY version",
            (kind, row_id, ended + SLACK_S),
        )
    ]
    ends = [row["at"] for row in trail[1:]] + [float("inf")]
    return [row for row, end in zip(trail, ends, strict=True) if end >= started - SLACK_S]


def said(pattern, answer):
    match = re.search(pattern, answer)
    return match.groups() if match else None


def rule_problem(command, answer):
    rule = catalogue.rule(catalogue.documents()[command.section])
    return None if rule in answer else f"does not give the rule of {command.section!r}"


def order_problem(command, answer, order):
    found = said(r"[Oo]rder (O-\d+) is (\w+)", answer)
    right = {(command.order_id, state["status"]) for state in order}
    return None if found in right else f"order is {sorted(right)}, answer says {found}"


def check_status(connection, command, answer, order, customer):
    shipping = shop_service.shipping_of(command.order_id)
    if said(r"parcel is at (\w+) and due in (\d+) days", answer) != (shipping["hub"], str(shipping["due_in_days"])):
        return "wrong about the parcel"
    found, addresses = said(r"it goes to (.+?)\. ", answer), {state["address"] for state in customer}
    if not found or found[0] not in addresses:
        return f"address is {sorted(addresses)}, answer says {found}"
    return order_problem(command, answer, order) or rule_problem(command, answer)


def check_stock(connection, command, answer, order, customer):
    stock = shop_service.stock_of(command.sku)
    if said(r"have (\d+) of (\S+) in the (\w+)", answer) != (str(stock["available"]), command.sku, stock["warehouse"]):
        return "wrong about the stock"
    return order_problem(command, answer, order) or rule_problem(command, answer)


def check_policy(connection, command, answer, order, customer):
    return order_problem(command, answer, order) or rule_problem(command, answer)


def check_refund(connection, command, answer, order, customer):
    found = said(r"Refunded ([\d.]+) on order (O-\d+); ([\d.]+) of ([\d.]+) is", answer)
    money = f"{command.amount_cents / 100:.2f}"
    right = {
        (money, command.order_id, f"{state['refunded_cents'] / 100:.2f}", f"{state['total_cents'] / 100:.2f}")
        for state in order
    }
    if found not in right:
        return f"refund is {sorted(right)}, answer says {found}"
    return None if refunded(order, command.amount_cents) else "the order's trail has no such refund"


def refunded(order, cents):
    """Whether one step of an order's trail paid back exactly `cents`."""
    return any(after["refunded_cents"] - before["refunded_cents"] == cents for before, after in zip(order, order[1:]))


def check_address(connection, command, answer, order, customer):
    if said(r"Parcels for (C-\d+) now go to (.+)\.$", answer) != (command.customer_id, command.address):
        return "does not confirm the new address"
    return None if command.address in {state["address"] for state in customer} else "the address was never written"


def check_escalate(connection, command, answer, order, customer):
    notes = [
        row["id"]
        for row in connection.execute(
            "SELECT id FROM notes WHERE customer_id = ? AND escalated = 1 AND text LIKE ?",
            (command.customer_id, f"%[{command.conversation}]%"),
        )
    ]
    found = said(r"reference is (\S+) and the note is number (\d+)", answer)
    if len(notes) != 1:
        return f"{len(notes)} notes were left instead of one"
    return None if found == (command.conversation, str(notes[0])) else f"wrong reference or number: {found}"


CHECKS = {
    "status": check_status,
    "stock": check_stock,
    "policy": check_policy,
    "refund": check_refund,
    "address": check_address,
    "escalate": check_escalate,
}
