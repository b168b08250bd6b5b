"""The documentation in step with the product: generated pages, links, names of commands, settings and closed sets."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness.cli.main import COMMANDS, cli
from harness.cli.options import checks
from harness.config.resolve import settle
from harness.errors import ExitCode
from harness.judge.threshold import parse_threshold
from harness.measure.names import CHAIN_EVENTS, RESULTS
from harness.trace.codec import decode_visit
from harness.visitor.records import Outcome, VisitEnd

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "fixtures/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED: dict[str, str] = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```|^    .*?$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_a_generated_page_is_what_the_code_says_now(page: str) -> None:
    """The committed page equals the one made from the code; `python docs/generate.py` renews it."""
    assert (ROOT / "docs" / page).read_text() == GENERATED[page]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or folder that exists."""
    targets = [target.partition("#")[0] for target in _LINK.findall(_CODE_BLOCK.sub("", page.read_text()))]
    inside = [target for target in targets if target and "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_names_a_machine(page: Path) -> None:
    """No path of a developer's machine stands in a page."""
    assert re.findall(r"/(?:work|home|root|Users)/\S*", page.read_text()) == []


def test_the_exit_codes_of_the_readme_are_those_of_the_product() -> None:
    """Each code has exactly one cell in the table."""
    table = README.partition("**Exit codes**")[2].partition("\n## ")[0]
    codes = [int(code) for code in re.findall(r"\| (\d+) (?=\|)", table)]
    assert sorted(codes) == sorted(int(code) for code in ExitCode)


def test_commands_and_options_of_the_readme_exist() -> None:
    """Every `harness …` command line of the README parses as far as its options go."""
    lines = re.findall(r"^    harness ((?:.*\\\n)*.*)|`harness ([^`]+)`", README, re.MULTILINE)
    commands = [shlex.split((block or inline).replace("\\\n", " ")) for block, inline in lines]
    assert {words[0] for words in commands} <= set(COMMANDS)
    for words in commands:
        assert unknown_options(words) == [], words


def unknown_options(words: list[str]) -> list[str]:
    """The options among the words of a command line that the command does not have."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        found = command.get_command(click.Context(command), rest.pop(0).partition("|")[0])
        assert found is not None, words
        command = found
    known = {name for parameter in command.params for name in parameter.opts}
    return [word for word in rest if re.match(r"--?[a-z]", word) and word not in known]


def test_the_profile_of_the_readme_is_a_profile(tmp_path: Path) -> None:
    """It is read without a problem, and its values arrive."""
    text = re.findall(r"^```toml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[0]
    profile = tmp_path / "team.toml"
    profile.write_text(text)
    values = settle({}, {}, checks(), str(profile)).values
    written = tomllib.loads(text)
    assert values["arrivals"] == written["load"]["arrivals"]
    assert values["allowed_hosts"] == tuple(written["target"]["allowed_hosts"])
    assert values["thresholds"] == tuple(f"{metric} {limit}" for metric, limit in written["slo"].items())


def test_the_trace_lines_of_the_readme_are_visits() -> None:
    """Header and visits of the example decode."""
    header, *visits = re.findall(r"^    (\{\"(?:harness_trace|visit)\".*)$", README, re.MULTILINE)
    assert json.loads(header)["visits"] == len(visits) == 2
    assert [decode_visit(line.encode(), "README").id for line in visits] == ["v-1", "v-2"]


def test_the_thresholds_of_the_readme_can_be_read() -> None:
    """Every --threshold of the README parses."""
    texts = re.findall(r"--threshold '([^']+)'", README)
    assert texts
    assert [parse_threshold(text).text for text in texts] == texts


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Attempt results:", lambda: RESULTS),
        ("Step outcomes:", lambda: [outcome.name for outcome in Outcome]),
    ],
)
def test_the_closed_sets_of_the_glossary_are_complete(heading: str, names: Callable[[], list[str]]) -> None:
    """Each member of the set stands in the first column of its table, and nothing else does."""
    table = GLOSSARY.partition(heading)[2].strip().partition("\n\n")[0]
    written = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(written) == sorted(names())


def test_the_words_of_the_glossary_cover_chain_events_and_visit_ends() -> None:
    """Every chain event has a row of its own; every visit end is named."""
    rows = set(re.findall(r"^\| (\w+) \|", GLOSSARY, re.MULTILINE))
    assert set(CHAIN_EVENTS) <= rows
    ends = GLOSSARY.partition("Visit ends:")[2].partition(",")[0]
    assert re.findall(r"`(\w+)`", ends) == [end.name for end in VisitEnd]
