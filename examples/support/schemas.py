"""What the model is told about the tools: names in, the `tools` list of a chat request out."""

CUSTOMER = {"type": "string", "description": "Customer number, such as C-012."}
ORDER = {"type": "string", "description": "Order number, such as O-1023."}
VERSION = {"type": "integer", "description": "The version that was read last; the write fails if it has changed since."}

PARAMETERS = {
    "get_customer": ("A customer's record: name, tier, address, version.", {"customer_id": CUSTOMER}),
    "get_order": ("One order: article, quantity, status, total, refunds, version.", {"order_id": ORDER}),
    "list_orders": ("All orders of a customer, in short.", {"customer_id": CUSTOMER}),
    "list_notes": ("The latest notes about a customer.", {"customer_id": CUSTOMER}),
    "search_docs": ("Find sections of the documentation.", {"query": {"type": "string"}}),
    "shipping_status": ("Where a parcel is, from the carrier.", {"order_id": ORDER}),
    "inventory": (
        "How many pieces of an article are in stock.",
        {"sku": {"type": "string", "description": "Article, such as SKU-07."}},
    ),
    "refund_order": (
        "Pay back a part of an order.",
        {
            "customer_id": CUSTOMER,
            "order_id": ORDER,
            "amount_cents": {"type": "integer", "minimum": 1},
            "expected_version": VERSION,
        },
    ),
    "update_address": (
        "Write a customer's new address.",
        {"customer_id": CUSTOMER, "address": {"type": "string"}, "expected_version": VERSION},
    ),
    "add_note": (
        "Leave a note about a customer; with escalated, a person looks at it.",
        {"customer_id": CUSTOMER, "text": {"type": "string"}, "escalated": {"type": "boolean"}},
    ),
}

TOOL_SCHEMAS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }
    for name, (description, properties) in PARAMETERS.items()
]
