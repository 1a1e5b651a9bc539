"""The pages people read: their commands exist, their policies are valid, their links lead somewhere, the site builds."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.generation.cli_page import find_command
from otel_perfopt.decide.boundary import DEFAULT_BOUNDARY
from otel_perfopt.decide.file_check import check_files

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(perfopt [a-z][^`]*)`")
LINK = re.compile(r"\]\((?!https?:|mailto:|<)([^)#\s]*)(?:#[^)]*)?\)")
_SHELL = frozenset({"sh", "bash", "shell", "console", ""})


def commands_of(text):
    """Yield each `perfopt …` that a page tells people to type, as words."""
    lines = [line for kind, block in BLOCK.findall(text) if kind in _SHELL for line in block.splitlines()]
    lines += INLINE.findall(BLOCK.sub("", text))
    for line in lines:
        for piece in re.split(r"&&|\|\||[;|·]|\$\(", line.partition(" #")[0]):
            match = re.search(r"(?:^|\s|`)perfopt (?!top  |status  )(.*)", " " + piece.strip())
            if match:
                try:
                    words = shlex.split(match[1].replace("…", ""), comments=True)
                except ValueError:
                    words = match[1].split()
                if words and re.fullmatch(r"[a-z]+", words[0]):
                    yield words


def problem_with(words):
    """Return what is wrong with a command that a page names, or nothing."""
    found, rest = None, list(words)
    for depth in range(1, len(words) + 1):
        try:
            found = find_command(tuple(words[:depth]))
        except KeyError:
            break
        rest = words[depth:]
        if not isinstance(found, click.Group):
            break
    if found is None:
        return f"no command {words[0]}"
    if found.context_settings.get("ignore_unknown_options") or not rest:
        return None
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [
        word for word in rest if word.startswith("--") and word.partition("=")[0] not in known | {"--help", "--"}
    ]
    return f"{words[0]} has no {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists_with_its_options(page):
    """What people are told to type is there."""
    problems = {
        " ".join(words): said for words in commands_of(page.read_text("utf-8")) if (said := problem_with(words))
    }
    assert problems == {}


def test_the_check_of_commands_finds_what_is_wrong():
    """A command or an option that is not there is told, also behind a pipe and inline."""
    text = "```sh\nperfopt nothing\nperfopt status --watch && perfopt report --oops x\n```\nand `perfopt ledger show --json`"
    said = [problem_with(words) for words in commands_of(text)]
    assert said == ["no command nothing", None, "report has no ['--oops']", None]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    """Links inside the repository are not dead."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    dead = [link for link in LINK.findall(text) if link and not (page.parent / link).exists()]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_policy_that_a_page_shows_is_valid(page, tmp_path):
    """A whole policy in a code block passes `perfopt check`."""
    for number, (kind, block) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
        if kind == "yaml" and "kind: OptimizationPolicy" in block and isinstance(yaml.safe_load(block), dict):
            file = tmp_path / f"{number}.yaml"
            file.write_text(block, encoding="utf-8")
            assert list(check_files([file], [DEFAULT_BOUNDARY]).problems) == []


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    """`mkdocs build --strict` passes, and a page needs no network."""
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"(https?://[^\"]+)", page.read_text("utf-8")
        )
        assert loaded == [], page
