"""The page of a search or a fit: what it says of an estimate, of "at least", of nothing, and of a law alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.report.capacity import render_capacity
from tests.unit.report.capacity_result import capacity_result


def said(**more: Any) -> str:
    """The page's text without markup, blanks made one."""
    page = render_capacity(capacity_result(**more), "demo", ["a note"])
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_an_estimate_is_told_with_interval_steps_and_law() -> None:
    """Rate, interval, what limits, every step with its reason, knee and peak; foreign text stays text."""
    text = said()
    for words in (
        "Capacity 174.6 visits/s", "95 % interval 166.2 to 186", "limited by p95(response_time) &lt; 200ms",
        "INVALID: &lt;img src=x&gt; worker_cpu: 97 %", "held for the whole time at 174.6/s", "Throughput turns at",
        "How much of what is allowed was used up", "Throughput by concurrency", "a note",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"bound": "at_least", "ci95": (160, None), "max_rate_hz": 160, "limiting_slo": None},
            "Capacity at least 160 visits/s",
        ),
        ({"max_rate_hz": None, "ci95": None, "reason": "the thresholds do not hold already at 20/s"}, "No rate held"),
        ({"law": None}, "These points say no law"),
        ({"left_out": ["run-3: INVALID, worker_cpu"]}, "Left out: run-3: INVALID, worker_cpu."),
    ],
)
def test_what_is_not_known_is_said(more: dict[str, Any], words: str) -> None:
    """At least, nothing held, no law, runs left out: each in words."""
    assert words in said(**more)


@pytest.mark.parametrize(
    ("ratio", "bound", "words"),
    [
        (0.5, "estimate", "is 150 visits/s: +50 %."),
        (-0.25, "estimate", "is 150 visits/s: −25 %."),
        (2.0, "at_least", "is 150 visits/s: ≥ +200 %."),
        (None, "at_least", "Against 100 visits/s: no rate is known to hold."),
    ],
)
def test_headroom_is_told_with_its_sign(ratio: float | None, bound: str, words: str) -> None:
    """More than the peak, less, at least so much, or not known."""
    headroom = {
        "peak_hz": 100.0, "peak_of": "as stated", "capacity_hz": 150.0, "capacity_of": "what was found",
        "bound": bound, "ratio": ratio,
    }  # fmt: skip
    assert words in said(headroom=headroom)


def test_a_fit_alone_is_a_load_curve() -> None:
    """Without a search there is no answer to it, and no chapter of it."""
    result = capacity_result()
    for name in ("max_rate_hz", "ci95", "bound", "limiting_slo", "reason", "steps", "plan"):
        del result[name]
    page = render_capacity(result, "two folders")
    assert "<h1>Load curve</h1>" in page
    assert 'id="search"' not in page
