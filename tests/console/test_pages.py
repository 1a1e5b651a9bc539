"""What pages show and do: the dashboard, findings, runs, policies, decisions and the ledger."""

from __future__ import annotations

import re
import time

from console_parts import TOKEN, console
from shop_home import ROLLOUT, SECOND, Shop

from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import PolicySet


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_overview_has_the_specifications_rows(shop):
    """Response time, tokens, success and satisfaction: current, target and the improvement asked for (S126 to S129)."""
    text = plain(shop.get("/").text)
    for goal in ("Response time", "Tokens a run", "Success rate", "User satisfaction"):
        found = re.search(
            rf"{goal} (.+?) (?:target met )?Target (.+?) Improvement asked (.+?) Reached (.+?) (?=[A-Z])", text
        )
        assert found, goal
        assert "–" not in found.group(1) + found.group(2)
    assert "Improvement asked 30 %" in text
    assert "Improvement asked 20 %" in text


def test_optimizations_have_status_and_measured_impact(shop):
    """Active, testing and planned ones, with what was measured of those in force (S130 to S133)."""
    html = shop.get("/").text
    rows = {
        re.search(r'/policies/([^"]+)"', row)[1]: plain(row)
        for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)
        if "/policies/" in row and "row.word" not in row
    }
    seen = shop.desk.loop.seen
    words = {name: row for name, row in rows.items() if re.search(r"\b(active|testing|planned)\b", row)}
    active = next(status.name for status in seen.statuses if str(status.state.state) == "active")
    assert re.search(r"active .*latency [+−]\d", words[active])
    assert re.search(r"testing .*canary-1 .*tokens [+−]\d", words["shorter-results"])


def test_what_is_not_in_force_yet_is_planned(visitor):
    """A policy that waits for approval stands there as planned, and what it waits for on top (S133)."""
    text = plain(visitor.get("/").text)
    assert "1 policy waits for approval: cache (canary)" in text
    assert re.search(r"cache tool cache planned awaiting approval", text)


def test_the_queue_says_impact_time_and_risk(shop):
    """What is next by expected value, with its interval, expected time and risk (S134 to S137)."""
    seen = shop.desk.loop.seen
    html = shop.get("/proposals").text
    order = re.findall(r'<h2><a href="/policies/([^"]+)"', html)
    assert order == [item.policy for item in seen.queue]
    first = plain(html.split('<ol class="entries">')[1].split("<li>")[1])
    assert re.search(r"\d+(\.\d)? % \([\d.-]+ to [\d.]+ %\)", first)
    assert "Risk low" in first
    assert "Verdict in" in first


def test_findings_can_be_filtered_and_looked_into(shop):
    """Kind, place and whether something acts on it; one finding shows evidence, recommendation and its runs."""
    every = shop.get("/findings").text
    kinds = re.findall(r'<option value="(\w+)"', every.split("where")[0])
    only = shop.get("/findings?kind=repeated_call").text
    assert "repeated_call" in kinds
    assert set(re.findall(r'<h2><a href="/findings/\w+">([^<]+)</a>', only)) == {"Repeated call"}
    assert "0 of" in plain(shop.get("/findings?where=nowhere-at-all").text)
    acting = shop.get("/findings?acting=yes").text
    key = re.search(r'<h2><a href="(/findings/\w+)"', acting)[1]
    page = shop.get(key).text
    text = plain(page)
    for part in ("Effect", "Evidence", "What to do", "Predicted", "A verdict needs", "Watch meanwhile"):
        assert part in text
    shares = re.search(r'<h2><a href="(/findings/\w+)"', only)[1]
    assert 'class="bar"' in shop.get(shares).text
    assert shop.get("/findings/0123456789abcdef").status_code == 404


def test_runs_can_be_searched_and_drawn_step_by_step(shop):
    """By command, conversation and outcome; one run has every step in a table, its critical path marked, no content."""
    html = shop.get("/runs?command=/policy&outcome=failed").text
    rows = re.findall(r"<tr><td.*?</tr>", html, re.DOTALL)
    assert rows
    assert all("/policy" in row and "failed" in row for row in rows)
    link = re.search(r'href="(/runs/[0-9a-f]{32}\?span=\w+)"', html)[1]
    page = shop.get(link).text
    trace = link.split("/")[2].split("?")[0]
    run = shop.desk.runs.find(trace)
    assert page.count('<tr id="step-') == len(run.steps) + 1
    assert 'class="critical"' in page
    assert "search_docs" in page
    assert "not shown" in page
    assert shop.get(f"/runs/{'f' * 32}").status_code == 404


def test_a_rollout_is_drawn_with_its_interval_and_lines(shop):
    """Goal and guardrails over units with the limit's line, in words and as numbers too; the last look is the verdict."""
    page = shop.get("/policies/shorter-results").text
    verdict = shop.desk.loop.seen.turn.standings["shorter-results"].verdict
    assert page.count('class="drawing interval"') >= 2
    assert page.count('class="limit goal"') == 1
    assert 'class="limit guard"' in page
    goal = next(one for one in verdict.metrics if one.role == "goal")
    assert (
        f"After {verdict.treatment_units + verdict.baseline_units:,} units {100 * goal.effect.estimate:+.1f} %" in page
    )
    assert f"{verdict.treatment_units}" in plain(page)


def test_what_was_taken_back_says_why(shop):
    """The ended trial stands with its reason, and what may be asked of it then."""
    text = plain(shop.get("/policies/generous-cache").text)
    assert "rolled back" in text
    assert "task_failure" in text
    assert "How its trials ended" in text


def test_a_proposal_shows_plan_difference_and_file(shop):
    """Who is touched, what it should bring, what is watched, and every line that is new."""
    name = next(item.policy for item in shop.desk.loop.seen.queue if item.needs.startswith("approval"))
    ends = time.monotonic() + 240
    while "being worked out" in (page := shop.get(f"/policies/{name}").text) and time.monotonic() < ends:
        time.sleep(0.2)
    text = plain(page)
    for part in ("Eligible", "Predicted", "Until a verdict", "Approved by", "What will be watched", "Proposed on"):
        assert part in text
    assert '<span class="add">' in page


def test_the_ledger_is_verified_and_filtered(past, shop):
    """Intact as it is; a changed line is told, with its place."""
    home, _ = past
    assert "intact" in shop.get("/ledger").text
    only = shop.get("/ledger?policy=generous-cache&event=rollback").text
    assert only.count('<th scope="row"') == 1
    file = home / "ledger.jsonl"
    good = file.read_bytes()
    file.write_bytes(good.replace(b"maria", b"mario", 1))
    try:
        assert "does not hold" in shop.get("/ledger").text
    finally:
        file.write_bytes(good)


def test_a_fragment_is_the_page_without_its_frame(shop):
    """What scripts fetch again is the same content; notes for the person are kept for a whole page."""
    part = shop.get("/", headers={"x-perfopt-fragment": "1"})
    assert "<html" not in part.text
    assert "The last hour" in part.text


# --- decisions ------------------------------------------------------------------------------------


def test_a_person_approves_rolls_back_and_kills(home):
    """Each goes to the ledger with name and reason; the snapshot follows at once, and the page says what happened."""
    with console(home) as visitor:
        assert visitor.log_in("maria").headers["location"] == "/policies"
        assert visitor.send("/policies/cache/approve", gate="canary", reason="reads only").status_code == 303
        page = visitor.get("/policies/cache").text
        assert "canary-1" in page
        assert '"stage":"canary-1"' in visitor.get("/v1/snapshot").text.replace(" ", "")
        visitor.send("/policies/cache/rollback", reason="a doubt")
        assert "rolled back" in visitor.get("/policies/cache").text
        visitor.send("/kill/kill", reason="all of it")
        assert (home / "kill").exists()
        assert "Everything is switched off" in visitor.get("/").text
        visitor.send("/kill/unkill", reason="it was nothing")
        assert not (home / "kill").exists()
    entries = Ledger(home / "ledger.jsonl").refresh()
    said = {(entry.event, entry.actor, entry.reason) for entry in entries if entry.actor == "maria"}
    assert said == {
        ("approve", "maria", "reads only"),
        ("rollback", "maria", "a doubt"),
        ("kill", "maria", "all of it"),
        ("unkill", "maria", "it was nothing"),
    }


def test_nobody_approves_their_own(home):
    """The author of the file is refused, with the reason on the page, and nothing is written."""
    with console(home) as visitor:
        visitor.log_in("somebody")
        visitor.send("/policies/cache/approve", gate="canary", reason="mine")
        assert "may not approve it" in visitor.get("/policies/cache").text
        assert visitor.desk.loop.seen.status("cache").state.approvals == ()


def test_a_reason_is_asked_for(home):
    """No decision without one, whatever the browser let pass."""
    with console(home) as visitor:
        visitor.log_in()
        for reason in ("", "   ", "x" * 501):
            visitor.send("/policies/cache/reject", reason=reason)
            assert "Not done" in visitor.get("/policies/cache").text
        assert visitor.send("/policies/cache/fly", reason="x").status_code == 404
        assert visitor.send("/kill/approve", reason="x").status_code == 404
        visitor.send("/policies/nobody/kill", reason="x")
        assert not (home / "kill.d").exists()


def test_one_policy_is_killed_alone_and_the_rest_goes_on(home):
    """By its own file, at once, and it comes back as proposed."""
    with console(home) as visitor:
        visitor.log_in()
        visitor.send("/policies/cache/kill", reason="x")
        assert (home / "kill.d" / "cache").exists()
        assert "killed" in visitor.get("/policies/cache").text
        visitor.send("/policies/cache/unkill", reason="x")
        assert not (home / "kill.d" / "cache").exists()


def test_a_kill_works_where_the_ledger_cannot_be_read(home):
    """The switch is made before anything that can fail, and the page says what did."""
    with console(home) as visitor:
        visitor.log_in()
        (home / "ledger.jsonl").write_text("no ledger\n")
        visitor.send("/kill/kill", reason="quick")
        assert (home / "kill").exists()
        assert "Not done" in visitor.get("/kill").text


def test_an_edited_policy_shows_what_changed(home):
    """Against its own version that was in force last."""
    with console(home) as visitor:
        visitor.log_in()
        visitor.send("/policies/cache/approve", gate="canary", reason="x")
        file = home / "policies" / "cache.yaml"
        file.write_text(file.read_text().replace("24h", "12h"))
        visitor.desk.loop.look_now(20)
        page = visitor.get("/policies/cache").text
        assert "as it was last in force" in page
        assert re.search(r'class="remove">-\s+ttl: 24h', page)
        assert re.search(r'class="add">\+\s+ttl: 12h', page)


def test_the_loops_faults_are_shown_and_end_nothing(home, monkeypatch):
    """A turn that fails is told on every page, and the next one that does not takes it away."""
    with console(home) as visitor:
        controller = visitor.desk.loop._controller
        monkeypatch.setattr(controller, "turn", lambda: 1 / 0)
        visitor.desk.loop.look_now(20)
        assert "ZeroDivisionError" in visitor.get("/").text
        monkeypatch.undo()
        visitor.desk.loop.look_now(20)
        assert "ZeroDivisionError" not in visitor.get("/").text
        assert visitor.desk.loop.alive


def test_content_is_shown_to_who_asked_for_it_at_the_start(tmp_path):
    """Recorded prompts and arguments are nowhere by default."""
    home = tmp_path / "home"
    shop = Shop(home)
    span = shop._span(
        "a" * 32,
        "b" * 16,
        "",
        "command /x",
        shop.now_ns,
        1.0,
        {"perfopt.step.kind": "command", "gen_ai.input.messages": "a secret text"},
    )
    shop._keep([span])
    shop.write("x")
    for asked in (False, True):
        with console(home, show_content=asked, clock=lambda: shop.now_ns + 3600 * SECOND) as visitor:
            while not visitor.desk.runs.newest():
                visitor.desk.loop.look_now(10)
            assert ("a secret text" in visitor.get(f"/runs/{'a' * 32}").text) == asked


def test_the_colours_somebody_likes_are_kept(visitor):
    """Without any script: a form, and a cookie that says nothing else."""
    visitor.send("/theme", theme="dark", next="/policies")
    assert 'data-theme="dark"' in visitor.get("/").text
    visitor.send("/theme", theme="light", next="/")
    assert 'data-theme="light"' in visitor.get("/").text


def test_an_answer_beside_the_command_line(home):
    """Somebody else's decision on the same folder is on the next page."""
    with console(home) as visitor:
        policies = PolicySet.open(home, visitor.desk.clock())
        policies.reject("cache", "jonas", "not now", visitor.desk.clock())
        visitor.desk.loop.look_now(20)
        assert "rejected" in visitor.get("/policies/cache").text
        assert TOKEN not in visitor.get("/policies/cache").text
        assert ROLLOUT["warmup"] == "0s"
