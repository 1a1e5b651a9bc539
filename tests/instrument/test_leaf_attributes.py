"""A tool call's span says which single values were in its arguments and result, as digests."""

from __future__ import annotations

from otel_perfopt.signal.emit.spans import command, tool
from otel_perfopt.signal.leaf_paths import MAX_LEAVES, digest_of


def test_values_are_on_the_span_by_their_place_and_unreadable(spans, no_faults):
    """The order's customer in a result and in the next call's arguments have one digest; neither value is told."""

    @tool(effects="read")
    def find_order(order_id: str):
        return {"id": order_id, "customer": {"id": "C-77"}, "lines": [{"sku": "A"}, {"sku": "B"}]}

    @tool(effects="read")
    def find_customer(customer_id: str):
        return {"id": customer_id}

    with command("/query", conversation_id="c"):
        find_order("O-5")
        find_customer(customer_id="C-77")
    order, customer = (span.attributes for span in spans.of_kind("tool"))
    assert f"customer.id={digest_of('C-77')}" in order["perfopt.tool.result.leaves"]
    assert f"lines[-1].sku={digest_of('B')}" in order["perfopt.tool.result.leaves"]
    assert list(customer["perfopt.tool.arguments.leaves"]) == [f"customer_id={digest_of('C-77')}"]
    assert "C-77" not in str(order["perfopt.tool.result.leaves"])


def test_a_large_result_names_no_more_than_it_may(spans, no_faults):
    """At most 64 places, however large the result."""

    @tool(effects="read")
    def find_all():
        return {f"key{number}": number for number in range(5000)}

    with command("/query", conversation_id="c"):
        find_all()
    (found,) = spans.of_kind("tool")
    assert len(found.attributes["perfopt.tool.result.leaves"]) == MAX_LEAVES
