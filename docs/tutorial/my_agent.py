# ruff: noqa: INP001, ANN001, ANN201, D103, T201 - written as a user would write it, not to our rules
# --8<-- [start:agent]
"""A small agent of one's own: the official OpenAI client, five plain functions, and a loop."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI


def get_customer(customer_id):
    time.sleep(0.1)  # a database, one network hop away
    return {"id": customer_id, "name": "Ada", "tier": "gold"}


def list_orders(customer_id):
    time.sleep(0.1)
    return {"orders": [{"id": "O-1003", "customer": customer_id}]}


def get_order(order_id):
    time.sleep(0.1)
    return {"id": order_id, "status": "shipped", "quantity": 2, "sku": "SKU-7"}


def shipping_status(order_id):
    time.sleep(0.15)  # somebody else's service
    return {"order": order_id, "hub": "Leeds", "due_in_days": 2, "city": "York"}


def search_docs(query):
    time.sleep(0.12)
    return {"results": [{"title": "Delivery", "text": f"On {query}: two to four days."}]}


TOOLS = {
    function.__name__: function for function in (get_customer, list_orders, get_order, shipping_status, search_docs)
}
SCHEMAS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "additionalProperties": True}}}
    for name in TOOLS
]
client = OpenAI()


def answer(question):
    """One command: ask the model, make the calls it asks for, until it answers."""
    messages = [{"role": "system", "content": "You work for a shop."}, {"role": "user", "content": question}]
    while True:
        reply = (
            client.chat.completions.create(model="support-model", messages=messages, tools=SCHEMAS).choices[0].message
        )
        messages.append(reply)
        if not reply.tool_calls:
            return reply.content
        for call in reply.tool_calls:
            result = TOOLS[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})


def main(questions):
    asked = [f"/query Where is my order O-{1000 + n}? I am customer C-{100 + n}." for n in range(questions)]
    with ThreadPoolExecutor(8) as pool:
        for text in pool.map(answer, asked):
            print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
# --8<-- [end:agent]
