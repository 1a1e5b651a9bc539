"""Policy files: short ones are enough, wrong ones say where and what to do, hostile ones stay harmless."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.decide.document import parse_documents
from otel_perfopt.decide.policy_file import (
    policy_schema,
    read_boundaries,
    read_groups,
    read_policies,
    read_policy_file,
)
from otel_perfopt.errors import InvalidFileError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "policies"

MINIMAL = """\
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata:
  name: query-tool-cache
spec:
  match: {tool: search_docs}
  optimize:
    type: tool_cache
  goal:
    metric: latency
"""


@pytest.fixture
def written(tmp_path: Path):
    """Return a function that writes a policy file and returns the lines of its problems."""

    def problems(text: str | bytes) -> list[str]:
        path = tmp_path / "x.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InvalidFileError) as caught:
            read_policies(path)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems


def test_ten_lines_are_enough(tmp_path: Path):
    """A minimal policy is ten lines and has the documented defaults."""
    assert len(MINIMAL.splitlines()) == 10
    (tmp_path / "p.yaml").write_text(MINIMAL)
    (loaded,) = read_policies(tmp_path).policies
    spec = loaded.policy.spec
    assert spec.mode == "active"
    assert spec.approval.gates == ("canary", "active")
    assert not spec.approval.allow_self
    assert spec.rollout.shadow_s == 86400
    assert [step.treatment for step in spec.rollout.canary_steps] == [0.05, 0.5]
    assert spec.exclude.tool_effects == ("write", "unknown")
    assert {guardrail.metric for guardrail in spec.guardrails} == {"task_failure", "latency_p95_exceed", "tokens"}
    assert spec.optimize.parameters.published()["ttl_s"] == 300


def change(line: str, new: str) -> str:
    assert line in MINIMAL
    return MINIMAL.replace(line, new)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (change("latency", "latncy"), r"x\.yaml:10:13: spec\.goal\.metric: .*did you mean 'latency'"),
        (change("spec:", "spec:\n  mod: active"), r"x\.yaml:6:3: spec\.mod: is an unknown key; did you mean 'mode'"),
        (change("tool:", "tools:"), r"x\.yaml:6:11: spec\.match\.tools: is an unknown key; did you mean 'tool'"),
        (change("tool_cache", "tool_cash"), r"x\.yaml:8:5: spec\.optimize: .*did you mean 'tool_cache'"),
        (change("{tool: search_docs}", "{}"), r"x\.yaml:6:10: spec\.match: names nothing"),
        (change("  goal:\n    metric: latency\n", ""), r"x\.yaml:6:3: spec\.goal: is required and missing"),
        (MINIMAL + "  goal: {metric: tokens}\n", r"x\.yaml:11:3: spec\.goal: stands here twice, first on line 9"),
        (MINIMAL + "    improve: 10\n", r"x\.yaml:11:14: spec\.goal\.improve: .*write 5% of the baseline"),
        (MINIMAL + "    improve: 100%\n", r"spec\.goal: nothing improves by 100%"),
        (MINIMAL + "    improve: 5pp\n", r"spec\.goal: latency is no share of units"),
        (change("type: tool_cache", "type: tool_cache\n    with: {ttl: 5}"), r"x\.yaml:9:17: .*with\.ttl: .*5m"),
        (change("type: tool_cache", "type: tool_cache\n    with: {ttl: 0s}"), r"with\.ttl: must be longer"),
        (change("type: tool_cache", "type: tool_cache\n    with: {scop: user}"), r"with\.scop: .*'scope'"),
        (change("type: tool_cache", "type: tool_cache\n    with: {invalidates: []}"), r"with\.invalidates: must be"),
        (MINIMAL + "  mode: activ\n", r"x\.yaml:11:9: spec\.mode: 'activ' is not allowed here; did you mean 'active'"),
        (MINIMAL + "  exclude: {toolEffects: [write]}\n", r"x\.yaml:6:3: spec: tool_cache never touches"),
        (
            MINIMAL + "  rollout:\n    steps: [{treatment: 5%, baseline: 5%}, {treatment: 60%, baseline: 50%}]\n",
            r"x\.yaml:12:44: spec\.rollout\.steps\[1\]: .*110% of all units",
        ),
        (
            MINIMAL + "  rollout:\n    steps: [{treatment: 50%, baseline: 50%}, {treatment: 5%, baseline: 5%}]\n",
            r"x\.yaml:12:5: spec\.rollout: treatment shrinks",
        ),
        (MINIMAL + "  rollout:\n    steps: [{treatment: 10%, baseline: 50%}]\n", r"equal arms"),
        (MINIMAL + "  rollout:\n    steps: [{treatment: 50%}]\n", r"steps\[0\]: needs shadow, or both"),
        (MINIMAL + "  rollout:\n    steps: [{shadow: 1h}]\n", r"exposes nobody"),
        (
            MINIMAL + "  rollout: {unit: time_block}\n",
            r"x\.yaml:11:19: spec\.rollout\.unit: time_block is not offered",
        ),
        (MINIMAL + "  rollout: {holdback: 0%}\n", r"spec\.rollout\.holdback: .*without a hold-back"),
        (MINIMAL + "  rollout: {holdback: 100%}\n", r"spec\.rollout\.holdback: must leave somebody"),
        (MINIMAL + "  rollout:\n    limits: {minUnits: true}\n", r"minUnits: must be a whole number \(it is true\)"),
        (MINIMAL + "  guardrails: [{metric: cost_usd, maxIncrease: 5pp}]\n", r"guardrails\[0\]: cost_usd is no share"),
        (MINIMAL + "  guardrails: [{metric: quality, maxIncrease: 5%}]\n", r"give maxDecrease"),
        (change("name: query-tool-cache", "name: Query Cache"), r"x\.yaml:4:9: metadata\.name: .*lower-case"),
        (change("kind: OptimizationPolicy", "kind: SafetyBoundary"), r"x\.yaml:2:7: kind: .*a file of its own"),
        (change("perfopt.dev/v1", "perfopt.dev/v2"), r"x\.yaml:1:13: apiVersion: 'perfopt.dev/v2' is not allowed"),
        (MINIMAL + "\tmode: active\n", r"x\.yaml:11:\d+: is indented with a tab"),
        (MINIMAL + "  mode: [active\n", r"x\.yaml:\d+:\d+: is not valid YAML"),
        (MINIMAL.encode() + b"  # caf\xe9\n", r"x\.yaml:11:8: is not UTF-8 here"),
        (MINIMAL.encode("utf-16"), r"x\.yaml:1:1: is not UTF-8"),
        (MINIMAL + "  mode: !!python/object:os.system {}\n", r"x\.yaml:11:9: spec\.mode: has the tag"),
        (MINIMAL + "---\njust text\n", r"x\.yaml:12:1: must be a mapping"),
        (MINIMAL + "---\n" + MINIMAL, r"x\.yaml:12:1: metadata\.name: .*already the name of the policy in x\.yaml:1"),
        (MINIMAL + "  <<: {mode: active}\n", r"merges another mapping"),
        ("\x00" * 10, r"x\.yaml:1:1: holds a character"),
    ],
)
def test_a_wrong_file_says_where_and_what_to_do(written, text, expected):
    """Each mistake is named with file, line, column, field and the remedy."""
    lines = written(text)
    assert any(re.search(expected, line) for line in lines), lines


def test_every_problem_of_every_document_is_told_at_once(written):
    """Several mistakes in several documents come in one go, in the order they stand."""
    lines = written(MINIMAL.replace("latency", "latncy") + "---\n" + MINIMAL.replace("tool_cache", "cache", 1))
    assert len(lines) == 2
    assert lines[0].startswith("x.yaml:10:")
    assert lines[1].startswith("x.yaml:19:5:")


def test_a_folder_is_read_whole(tmp_path: Path):
    """Every YAML file under a folder is read, hidden ones (as ConfigMaps make) are not."""
    (tmp_path / "proposed").mkdir()
    (tmp_path / ".old").mkdir()
    (tmp_path / "a.yaml").write_text(MINIMAL)
    (tmp_path / "proposed" / "b.yml").write_text(MINIMAL.replace("query-tool-cache", "b") + "---\n# nothing\n")
    (tmp_path / ".old" / "c.yaml").write_text(MINIMAL)
    (tmp_path / "notes.txt").write_text("no yaml")
    assert [loaded.name for loaded in read_policies(tmp_path).policies] == ["query-tool-cache", "b"]


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
        "a: &a [*a]\n",
        "[" * 50_000,
        "a: " + "{a: " * 60 + "1" + "}" * 60,
        "x" * 2_000_000,
        "- 1\n" * 30_000,
    ],
    ids=["aliases", "self", "brackets", "deep", "large", "many"],
)
def test_bombs_are_refused_quickly(tmp_path: Path, bomb: str):
    """Files that would blow up in memory, depth or time come back as a problem."""
    path = tmp_path / "bomb.yaml"
    path.write_text(bomb)
    policies, problems = read_policy_file(path)
    assert not policies
    assert problems


def test_words_are_read_as_they_look(tmp_path: Path):
    """Yes, no, on, 5:30 and dates are text, as in YAML 1.2; numbers and true are what they are."""
    documents, problems = parse_documents(b"[no, on, 5:30, 2026-11-23, 010, 1.5, true, null, '1', 1e3]", "x")
    assert not problems
    assert documents[0].data == ["no", "on", "5:30", "2026-11-23", 10, 1.5, True, None, "1", "1e3"]


def test_aliases_may_be_used_with_measure(tmp_path: Path):
    """A plain anchor and its alias read as if written out."""
    (tmp_path / "p.yaml").write_text(MINIMAL.replace("name: query", "name: &n query") + "  effects: {*n : read}\n")
    (loaded,) = read_policies(tmp_path).policies
    assert dict(loaded.policy.spec.effects) == {"query-tool-cache": "read"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"#% \t\nab1", max_size=80).map(str.encode))
def test_no_bytes_raise(content: bytes):
    """Whatever a file holds, reading gives documents or problems and never an exception."""
    documents, problems = parse_documents(content, "x")
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(document.file == "x" for document in documents)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(alphabet="abc :-#'\"é", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="abc", min_size=1), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(PLAIN.filter(lambda data: data is not None))
def test_what_yaml_writes_is_read_back(data):
    """Plain data written by a YAML library reads back equal."""
    documents, problems = parse_documents(yaml.safe_dump(data, allow_unicode=True).encode(), "x")
    assert not problems
    assert documents[0].data == data


def test_the_published_schema_is_current():
    """The schema in the documentation is the one the models have now."""
    published = json.loads((ROOT / "docs" / "policy.schema.json").read_text())
    assert published == policy_schema(), "write it again: python -m otel_perfopt.decide.schema_file"


def test_the_schema_accepts_what_is_valid_and_refuses_what_is_not():
    """An editor with the schema agrees with us about the examples and a few mistakes."""
    check = jsonschema.Draft202012Validator(policy_schema())
    check.check_schema(policy_schema())
    for path in EXAMPLES.glob("*.yaml"):
        check.validate(yaml.safe_load(path.read_text()))
    for wrong in (change("tool_cache", "tool_cash"), change("latency", "latncy"), MINIMAL + "  mod: x\n"):
        assert not check.is_valid(yaml.safe_load(wrong))
    assert check.is_valid(yaml.safe_load(MINIMAL + "  approval: auto\n"))


def test_the_examples_are_valid():
    """Every example policy and boundary reads without a problem."""
    names = [read_policies(path).policies[0].name for path in EXAMPLES.glob("*.yaml") if path.name != "boundary.yaml"]
    assert sorted(names) == ["query-tool-cache", "task-parallel-reads"]
    (loaded,) = read_boundaries(EXAMPLES / "boundary.yaml")
    assert loaded.boundary.spec.max_exposure == 0.95


def test_groups(tmp_path: Path):
    """Groups are a mapping of names to people; anything else is a problem with its place."""
    path = tmp_path / "groups.yaml"
    path.write_text("agent-oncall: [alice, bob]\nleads: carol\n")
    assert read_groups(path).members("agent-oncall") == ("alice", "bob")
    assert read_groups(path).members("leads") == ("carol",)
    assert read_groups(path).members("nobody") == ()
    path.write_text("agent-oncall: {alice: 1}\n")
    with pytest.raises(InvalidFileError, match=r"groups\.yaml:1:15: agent-oncall"):
        read_groups(path)
