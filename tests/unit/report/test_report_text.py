"""The text formats: what a reader sees, and that no text of the target can act on a terminal, a page or a parser."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.report.html import render_html
from harness.report.junit import render_junit
from harness.report.markdown import escape, render_markdown
from harness.report.story import tell
from harness.report.text import WIDTH, render_text
from harness.report.words import clean, number, percent, percentile, quantity

MADE_UP = runpy.run_path(str(Path(__file__).with_name("made_up_run.py")))


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    made_up: dict[str, Any] = MADE_UP["made_up_run"]()[0]
    return made_up


def test_text_begins_with_the_verdict_and_why(summary: dict[str, Any]) -> None:
    """First the verdict, then the run, then each broken check, and only then the rest in the documented order."""
    lines = render_text(summary).splitlines()
    cause = "p95(response_time) < 300ms: never of 6750 values; 563 without a reply"
    assert lines[0].startswith(f"FAIL  made-up-3f9a1c  {cause}") and len(lines[0]) <= 100
    assert lines[2].startswith("  slo: p95(response_time) < 300ms: never of 6750 values; 563 without a reply")
    assert "  slo: availability(eventual) > 99%: 91.667 %" in lines
    heads = [line for line in lines[1:] if line and not line.startswith(" ")]
    assert heads == [
        "Thresholds", "Visits", "Steps", "Times in ms", "Availability", "Attempts and errors", "Chain", "Instrument",
    ]  # fmt: skip


def test_text_holds_the_summary_s_figures(summary: dict[str, Any]) -> None:
    """Equations, percentiles and counts stand there as the summary has them."""
    text = render_text(summary)
    assert "  3,000 planned = 3,000 completed.\n" in text
    assert "  6,750 planned = 5,500 available + 687 accepted + 563 exhausted.\n" in text
    rows = {line[2:24].strip(): line[24:].split() for line in text.splitlines()}
    block = summary["latency_ms"]["dispatch_lag"]
    stats = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
    assert rows["dispatch lag"] == [f"{block['count']:,}", *(number(block[stat]) for stat in stats)]
    assert rows["response time"][-4:] == [f">{number(summary['latency_ms']['response_time']['beyond_ms'])}"] * 4


def test_no_line_is_wider_than_promised(summary: dict[str, Any]) -> None:
    """Long messages are wrapped or cut at 100 columns."""
    check = {"name": "n" * 150, "kind": "slo", "ok": False, "observed": 1.0, "limit": 2.0, "unit": "ms"}
    check["message"] = "m " * 200
    summary = {**summary, "verdict": {"status": "FAIL", "exit_code": 3, "checks": [check]}}
    assert max(map(len, render_text(summary).splitlines())) <= WIDTH


def test_only_some_errors_are_listed(summary: dict[str, Any]) -> None:
    """Beyond the limit the kinds of errors are counted, not listed."""
    assert "and 2 more kinds: see report.html" in render_text(summary, max_errors=2)


def test_an_empty_summary_is_a_story_too() -> None:
    """A run that measured nothing gives a text that says so, and no error."""
    assert "Not measured." in render_text(
        {"run_id": "r", "verdict": {"status": "INVALID", "exit_code": 5, "checks": []}}
    )


def test_the_story_s_order_is_the_argument_s(summary: dict[str, Any]) -> None:
    """Verdict, instrument, visits, steps with times and availability, retries, chain; a few visits whole at the end."""
    assert [section.key for section in tell(summary).sections] == [
        "verdict", "instrument", "visits", "steps", "times", "availability", "retries", "chain", "exemplars",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dirty", "plain"),
    [
        ("two\nlines\tand more", "two lines and more"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("abc\u202edef\u200b", "abc\ufffddef\ufffd"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_clean_leaves_nothing_that_acts(dirty: str, plain: str) -> None:
    """Control characters, direction marks and surrogates become U+FFFD, lines one line, and length is bounded."""
    assert clean(dirty) == plain


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (12345, "12,345"), (0.12345, "0.123"), (0.00123, "0.0012"), (99.96, "99.96"),
     (812.44, "812.4"), (12345.6, "12,346"), (3.0, "3"), ("as is", "as is"), (-2.5, "-2.5")],
)  # fmt: skip
def test_numbers_are_short_and_never_exponents(value: Any, text: str) -> None:
    """Three or four digits that matter."""
    assert number(value) == text


def test_percentages_do_not_round_a_loss_away() -> None:
    """Only a full ratio is 100 %."""
    assert [percent(ratio) for ratio in (1, 0.99999999, 0.9995, 0.5, 0, None)] == [
        "100 %", "> 99.99 %", "99.95 %", "50 %", "0 %", "–",
    ]  # fmt: skip


def test_units_and_infinite_percentiles() -> None:
    """Ratios are percentages, rates stick to their number, and what never came is beyond the slowest reply."""
    assert [quantity(*pair) for pair in ((0.12, "ratio"), (50.0, "/s"), (812.4, "ms"), (3, ""), (None, "ms"))] == [
        "12 %", "50/s", "812.4 ms", "3", "–",
    ]  # fmt: skip
    assert percentile({"p99": None, "beyond_ms": 78.3}, "p99") == ">78.3"
    assert percentile({"p99": None}, "p99") == "never"
    assert percentile({}, "p99") == "–"


def test_markdown_makes_every_foreign_character_literal() -> None:
    """Markup, links, mentions, HTML and table bars of a target's text stay text."""
    assert escape("a|b <i> [x](http://y) `@all` *") == (
        "a&#124;b &lt;i&gt; \\[x\\]\\(http&#58;//y\\) \\`&#64;all\\` \\*"
    )


def test_markdown_tables_have_as_many_cells_as_columns(summary: dict[str, Any]) -> None:
    """Each row of each table has the width of its head, hostile messages included."""
    width = None
    for line in render_markdown(summary).splitlines():
        width = (width or line.count("|")) if line.startswith("|") else None
        if width is not None:
            assert line.count("|") == width, line


def test_junit_counts_checks_by_kind(summary: dict[str, Any]) -> None:
    """A second parser finds one case per check; broken thresholds are failures, broken validity checks errors."""
    checks = [*summary["verdict"]["checks"]]
    checks[0] = {**checks[0], "kind": "validity", "ok": False, "message": MADE_UP["HOSTILE"] + "\x00"}
    root = ElementTree.fromstring(render_junit({**summary, "verdict": {"checks": checks}}).encode())
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    expected = {
        check["name"]: ["system-out"] if check["ok"] else ["error" if check["kind"] == "validity" else "failure"]
        for check in checks
    }
    assert cases == expected
    suites = {suite.get("name"): (suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root}
    broken = sum(not check["ok"] for check in checks if check["kind"] == "slo")
    assert suites["harness.slo"] == ("3", str(broken), "0")
    assert suites["harness.validity"][2] == "1"


def test_junit_calls_too_small_a_sample_an_error(summary: dict[str, Any]) -> None:
    """A gate without enough data could not tell: an error, like the INVALID run, and no failure of the target."""
    checks = [{**check, "ok": True} for check in summary["verdict"]["checks"] if check["kind"] == "slo"]
    checks[0] |= {"ok": False, "enough_data": False, "message": "not enough data"}
    [suite] = ElementTree.fromstring(render_junit({**summary, "verdict": {"checks": checks}}).encode())
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    told = [case.get("name") for case in suite.iter("testcase") if case.find("error") is not None]
    assert told == [checks[0]["name"]]


@pytest.mark.parametrize(
    ("target", "insecure", "said"),
    [("https://x.test", True, True), ("https://x.test", False, False), ("http://x.test", True, False)],
)
def test_every_format_says_that_the_certificate_was_not_verified(
    summary: dict[str, Any], target: str, insecure: bool, said: bool
) -> None:
    """`--insecure` stands beside the target, whoever reads the report."""
    told = {**summary, "config": {**summary["config"], "target": target, "insecure": insecure}}
    for render in (render_text, render_markdown, render_html):
        text = " ".join(render(told).split())
        assert ("certificate NOT verified" in text) is said
