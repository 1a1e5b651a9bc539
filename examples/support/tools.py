"""What the support agent can do: plain functions over the shop's database and its shipping service."""

import re

from . import database, latency, shop_client
from .errors import ConflictError, NotAllowedError, NotFoundError


def get_customer(customer_id):
    rows = database.query("SELECT * FROM customers WHERE id = ?", (customer_id,))
    if not rows:
        raise NotFoundError(f"no customer {customer_id}")
    return rows[0]


def get_order(order_id):
    rows = database.query("SELECT * FROM orders WHERE id = ?", (order_id,))
    if not rows:
        raise NotFoundError(f"no order {order_id}")
    return rows[0]


def list_orders(customer_id):
    rows = database.query(
        "SELECT id, sku, status, total_cents FROM orders WHERE customer_id = ? ORDER BY id", (customer_id,)
    )
    return {"customer_id": customer_id, "orders": rows}


def list_notes(customer_id):
    rows = database.query(
        "SELECT id, text, escalated FROM notes WHERE customer_id = ? ORDER BY id DESC LIMIT 3", (customer_id,)
    )
    return {"customer_id": customer_id, "notes": rows}


def search_docs(query):
    words = " OR ".join(re.findall(r"[a-z]+", query.lower()))
    rows = database.query(
        "SELECT title, snippet(docs, 1, '', '', '…', 10) AS snippet FROM docs WHERE docs MATCH ? ORDER BY rank LIMIT 3",
        (words,),
        hop_s=latency.SEARCH_HOP_S,
    )
    return {"query": query, "results": rows}


def shipping_status(order_id):
    return shop_client.get(f"/shipping/{order_id}")


def inventory(sku):
    return shop_client.get(f"/inventory/{sku}")


def refund_order(customer_id, order_id, amount_cents, expected_version):
    rows = database.execute(
        "UPDATE orders SET refunded_cents = refunded_cents + :amount, version = version + 1"
        " WHERE id = :id AND customer_id = :customer AND version = :version"
        " AND :amount > 0 AND refunded_cents + :amount <= total_cents"
        " RETURNING id, refunded_cents, version",
        {"id": order_id, "customer": customer_id, "amount": amount_cents, "version": expected_version},
    )
    if rows:
        return rows[0]
    order = get_order(order_id)
    if order["version"] != expected_version:
        raise ConflictError(f"order {order_id} is at version {order['version']}, not {expected_version}")
    raise NotAllowedError(f"{amount_cents} cents cannot be refunded on order {order_id} of customer {customer_id}")


def update_address(customer_id, address, expected_version):
    rows = database.execute(
        "UPDATE customers SET address = ?, version = version + 1 WHERE id = ? AND version = ?"
        " RETURNING id, address, version",
        (address, customer_id, expected_version),
    )
    if rows:
        return rows[0]
    customer = get_customer(customer_id)
    raise ConflictError(f"customer {customer_id} is at version {customer['version']}, not {expected_version}")


def add_note(customer_id, text, escalated=False):
    rows = database.execute(
        "INSERT INTO notes (customer_id, text, escalated) SELECT id, ?, ? FROM customers WHERE id = ? RETURNING id",
        (text, int(escalated), customer_id),
    )
    if not rows:
        raise NotFoundError(f"no customer {customer_id}")
    return {"note_id": rows[0]["id"], "customer_id": customer_id}


TOOLS = {
    "get_customer": get_customer,
    "get_order": get_order,
    "list_orders": list_orders,
    "list_notes": list_notes,
    "search_docs": search_docs,
    "shipping_status": shipping_status,
    "inventory": inventory,
    "refund_order": refund_order,
    "update_address": update_address,
    "add_note": add_note,
}
