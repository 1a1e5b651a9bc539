from __future__ import annotations

import json

import pytest

from collector.program import until
from collector.sending import SERVICE, payload, send, spans_in, trace_id
from collector.sending import lines as file_lines

SECRETS = {
    "openai": "sk-proj-" + "a1B2" * 8,
    "bearer": "Authorization: Bearer " + "tok_" * 6,
    "aws": "AKIA" + "ABCDEFGHIJKLMNOP",
    "github": "ghp_" + "Z9" * 18,
    "slack": "xoxb-" + "1234567890-abcdef",
    "google": "AIza" + "x" * 35,
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3" + ".abcdefghijk",
    "key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEabc\n-----END RSA PRIVATE " + "KEY-----",
}
PLAIN = {
    "perfopt.tool.arguments.digest": "9f86d081884c7d659a2feaa0c55ad015",
    "perfopt.command.name": "/query",
    "note": "risk-free sk-short",
}
FIRST = 1_000_000


@pytest.fixture(scope="module")
def found(stack):
    """Send one span with a secret in each attribute; give its attributes in the file and in Jaeger."""
    content = {"gen_ai.input.messages": "[user] where is my order", "gen_ai.tool.call.arguments": '{"order": "O-1"}'}
    send(stack.gateway.http, payload([FIRST], **SECRETS, **PLAIN, **content))
    trace = trace_id(FIRST)

    def in_file():
        spans = [span for span in spans_in(file_lines(stack.gateway.telemetry)) if span["traceId"] == trace]
        return {one["key"]: one["value"].get("stringValue", "") for one in spans[0]["attributes"]} if spans else None

    def in_jaeger():
        spans = [span for one in stack.jaeger.traces(SERVICE) if one["traceID"] == trace for span in one["spans"]]
        return {tag["key"]: tag["value"] for tag in spans[0]["tags"]} if spans else None

    return until("in the file", in_file), until("in Jaeger", in_jaeger)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_an_attribute_is_masked_everywhere(found, name):
    """Of a key or a token nothing is left in the file nor in Jaeger but asterisks."""
    for attributes in found:
        assert SECRETS[name] not in json.dumps(attributes)
        assert "****" in attributes[name]


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_secret_stays(found, name):
    """Digests, names and text that merely resembles a key are as they were sent."""
    for attributes in found:
        assert attributes[name] == PLAIN[name]


def test_content_stays_out_of_jaeger_and_in_the_file(found):
    """What was said is kept for the analysis, and not shown where nobody is asked who they are."""
    in_file, in_jaeger = found
    assert in_file["gen_ai.input.messages"]
    assert in_file["gen_ai.tool.call.arguments"]
    assert "gen_ai.input.messages" not in in_jaeger
    assert "gen_ai.tool.call.arguments" not in in_jaeger
