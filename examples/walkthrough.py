"""Two policies followed through their lives, by YAML, `perfopt status` and the ledger; writes docs/walkthrough.md.

python examples/walkthrough.py [--out docs/walkthrough.md]

The example's agents run for some minutes; every block in the page is what a command printed in that run.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.demo.fleet import Fleet, backends
from otel_perfopt.demo.tour import PRICES
from otel_perfopt.loop.observatory import Observatory
from otel_perfopt.verify.verdict import Conclusion

HARMFUL = Path(__file__).resolve().parents[1] / "otel_perfopt" / "demo" / "harmful.yaml"
BASELINE_COMMANDS = 160
PATIENCE_S = 900
QUICK_ROLLOUT = {
    "warmup": "0s",
    "steps": [{"treatment": "50%", "baseline": "50%"}],
    "limits": {"minUnits": 200, "maxUnits": 3000, "maxDuration": "1h"},
}
# No guardrail on slow commands: on a machine whose load changes, as where this runs, it would wait for ever.
GUARDRAILS = ({"metric": "task_failure", "maxIncrease": "15pp"}, {"metric": "cost_usd", "maxIncrease": "20%"})
# The page's headings, in order; a test holds the page to them.
OUTLINE = (
    "# Two policies, followed",
    "## From a proposal to the hold-back",
    "### It is proposed",
    "### A person edits it",
    "### It waits for an approval",
    "### It is in canary",
    "### It is better, and waits for the next approval",
    "### It is active, with a hold-back",
    "### What the ledger says of it",
    "## From canary to roll-back",
    "### Somebody declares it",
    "### It is in canary too",
    "### It is taken back by itself",
    "### What the ledger says of that",
    "## The ledger as a whole",
)


class Page:
    """The page as it grows."""

    def __init__(self, home):
        self.home = home
        self.lines = []
        self.observatory = Observatory(home)

    def heading(self, text):
        assert text in OUTLINE, text
        self.lines += [text, ""]

    def say(self, text):
        self.lines += [text, ""]

    def block(self, text, language="console"):
        self.lines += [f"```{language}", self.clean(text).rstrip(), "```", ""]

    def clean(self, text):
        """Without this machine's paths, and without spaces at the ends of lines."""
        text = text.replace(str(self.home), ".perfopt")
        return "\n".join(line.rstrip() for line in text.splitlines())

    def perfopt(self, *arguments):
        """Run a command and put what it printed on the page."""
        command = [sys.executable, "-m", "otel_perfopt.cli.main", *arguments, "--home", str(self.home)]
        environment = {**os.environ, "COLUMNS": "140", "TERM": "dumb", "NO_COLOR": "1"}
        done = subprocess.run(command, env=environment, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"perfopt {' '.join(arguments)}: {done.stderr or done.stdout}")
        line = " ".join(f"'{word}'" if " " in word else word for word in arguments)
        self.block(f"$ perfopt {line}\n{done.stdout}")

    def verdict(self, name):
        now_ns = time.time_ns()
        policies, _ = PolicySet.look(self.home)
        self.observatory.look(now_ns)
        return self.observatory.standing(policies.status(name, now_ns), policies, now_ns).verdict

    def is_better(self, name):
        verdict = self.verdict(name)
        return verdict is not None and verdict.conclusion is Conclusion.BETTER

    def state(self, name):
        text = (self.home / "ledger.jsonl").read_text()
        entries = [entry for entry in map(json.loads, text.splitlines()) if entry["policy"] == name and entry["to"]]
        return entries[-1]["to"] if entries else ""


def until(done, what, traffic, tell=lambda: ""):
    print(f"waiting: {what}", file=sys.stderr)
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        traffic.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {PATIENCE_S} s: {what} {tell()}")
        time.sleep(1)


def proposed_names(home):
    return {path.stem: path for path in sorted((home / "policies" / "proposed").glob("*.yaml"))}


def tell_the_good_one(page, traffic):
    page.heading("## From a proposal to the hold-back")
    page.heading("### It is proposed")
    page.say("The agents have worked for a while, instrumented and unchanged. What they recorded is analysed:")
    page.perfopt("propose")
    name, path = next((name, path) for name, path in proposed_names(page.home).items() if "parallel" in name)
    page.say("One of the files it wrote, finding, evidence and predicted effect included:")
    page.block(path.read_text(), "yaml")

    page.heading("### A person edits it")
    page.say(
        "The defaults take days: a day in shadow, 5 %, then half of the conversations. The example's traffic is a"
        " day's in some minutes, so somebody copies the proposal to a file of their own with a shorter roll-out (and"
        " removes the other proposals, so that this page is about one):"
    )
    document = yaml.safe_load(path.read_text())
    document["metadata"]["author"] = "anna"
    document["spec"]["rollout"] = QUICK_ROLLOUT
    document["spec"]["guardrails"] = [dict(guardrail) for guardrail in GUARDRAILS]
    for proposed in proposed_names(page.home).values():
        proposed.unlink()
    own = page.home / "policies" / f"{name}.yaml"
    own.write_text(yaml.safe_dump(document, sort_keys=False))
    page.block(yaml.safe_dump({"spec": document["spec"]}, sort_keys=False), "yaml")

    page.heading("### It waits for an approval")
    until(lambda: page.state(name) == "awaiting approval", f"{name} waits", traffic)
    page.perfopt("status")

    page.heading("### It is in canary")
    page.say("Another person than the author says yes; the approval is for this digest and no other.")
    page.perfopt("approve", name, "--as", "bert", "--reason", "reads only")
    until(lambda: page.state(name) == "canary", f"{name} is in canary", traffic)
    time.sleep(15)
    page.perfopt("status")

    page.heading("### It is better, and waits for the next approval")
    until(lambda: page.is_better(name), f"{name} is better", traffic, lambda: page.verdict(name))
    page.perfopt("status")

    page.heading("### It is active, with a hold-back")
    page.perfopt("approve", name, "--gate", "active", "--as", "bert", "--reason", "better, guardrails held")
    until(lambda: page.state(name) == "active", f"{name} is active", traffic)
    time.sleep(10)
    page.say("5 % of the conversations stay baseline, and the comparison goes on with them:")
    page.perfopt("status")

    page.heading("### What the ledger says of it")
    page.perfopt("ledger", "show", name)


def tell_the_bad_one(page, traffic):
    page.heading("## From canary to roll-back")
    page.heading("### Somebody declares it")
    text = HARMFUL.read_text()
    (page.home / "policies" / "generous-cache.yaml").write_text(text)
    page.block(text, "yaml")
    until(lambda: page.state("generous-cache") == "awaiting approval", "generous-cache waits", traffic)
    page.heading("### It is in canary too")
    page.perfopt("approve", "generous-cache", "--as", "bert", "--reason", "by mistake")
    until(lambda: page.state("generous-cache") == "canary", "generous-cache is in canary", traffic)
    page.perfopt("status")
    page.heading("### It is taken back by itself")
    until(lambda: page.state("generous-cache") == "rolled back", "generous-cache is taken back", traffic)
    page.perfopt("status")
    page.heading("### What the ledger says of that")
    page.perfopt("ledger", "show", "generous-cache")


def walk(folder):
    """Run it all in a folder; returns the page."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "prices.json").write_text(json.dumps(PRICES))
    page = Page(home)
    page.heading("# Two policies, followed")
    page.say(
        "Written by `python examples/walkthrough.py`, which runs the example's agents beside `perfopt loop` and puts"
        " here what each command printed. Names of people are given with `--as`. Figures differ from run to run."
    )
    with contextlib.ExitStack() as stack:
        fleet = Fleet(home, stack.enter_context(backends(folder / "shop")), folder)
        traffic = stack.enter_context(fleet.traffic())
        until(lambda: len(traffic.outcomes()) >= BASELINE_COMMANDS, "the agents work", traffic)
        loop = [sys.executable, "-m", "otel_perfopt.cli.main", "loop", "--every", "1", "--home", str(home)]
        controller = subprocess.Popen(loop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(controller.wait)
        stack.callback(controller.terminate)
        tell_the_good_one(page, traffic)
        tell_the_bad_one(page, traffic)
    page.heading("## The ledger as a whole")
    page.perfopt("ledger", "verify")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(page.lines)).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/walkthrough.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = walk(Path(folder).resolve())
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
