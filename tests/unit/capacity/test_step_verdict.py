"""From evidence to a verdict: what beats what, and the one line that says why."""

from __future__ import annotations

from typing import Any

import pytest

from harness.capacity.evidence import Evidence, Shown
from harness.capacity.search import Step, Trial
from harness.capacity.step_verdict import Failed, judged

TRIAL = Trial(number=3, stage="bisect", rate_hz=50.0)
SLO, OTHER = "p99(response_time) < 1s", "availability(eventual) > 99%"


def seen(bad: int, answer: str, slo: str = SLO, count: int = 1000) -> Shown:
    """A criterion that allows 1 %, with so many bad ones."""
    return Shown(slo=slo, allowed=0.01, bad=bad, count=count, effect=2.0, answer=answer)  # type: ignore[arg-type]


def step(*shown: Shown, growing: str = "", **more: Any) -> Step:
    """The verdict on such evidence."""
    evidence = Evidence([], 0, 10)
    evidence.shown, evidence.growing = list(shown), growing
    return judged(TRIAL, evidence, **more)


@pytest.mark.parametrize(
    ("given", "verdict", "sure", "slo", "why"),
    [
        ((seen(2, "held"),), "held", True, None, f"{SLO}: 0.2 % bad, 1 % allowed"),
        ((seen(9, "open"),), "held", False, None, f"{SLO}: 0.9 % bad, 1 % allowed"),
        ((seen(11, "open"),), "broken", False, SLO, f"{SLO}: 1.1 % bad, 1 % allowed"),
        ((seen(90, "broken"),), "broken", True, SLO, f"{SLO}: 9 % bad, 1 % allowed"),
        ((seen(2, "held"), seen(30, "broken", OTHER)), "broken", True, OTHER, f"{OTHER}: 3 % bad, 1 % allowed"),
        ((seen(2, "held"), seen(7, "open", OTHER)), "held", False, None, f"{OTHER}: 0.7 % bad, 1 % allowed"),
        ((seen(0, "open", count=0),), "broken", False, SLO, f"{SLO}: nothing to judge was measured"),
    ],
)
def test_the_verdict_names_what_decided(
    given: tuple[Shown, ...], verdict: str, sure: bool, slo: str | None, why: str
) -> None:
    """What broke, or what is nearest to its limit; not sure where the test had not decided."""
    found = step(*given)
    assert (found.verdict, found.sure, found.slo, found.why) == (verdict, sure, slo, why)
    assert (found.number, found.stage, found.rate_hz, found.shown) == (3, "bisect", 50.0, given)


def test_what_beats_what() -> None:
    """The instrument before the queue, the queue before shares, these before what the run judged at its end."""
    failed = Failed("chain(crossed) == 0", "2")
    bad = seen(90, "broken")
    assert step(bad, growing="the queue grows", invalid="worker_cpu: 97 %").verdict == "invalid"
    assert step(bad, growing="the queue grows").why == "the queue grows"
    assert step(bad, failed=failed).slo == SLO
    last = step(seen(1, "held"), failed=failed)
    assert (last.verdict, last.slo, last.why) == ("broken", failed.slo, "chain(crossed) == 0: 2")


def test_a_step_without_a_second_says_nothing() -> None:
    """It ended before anything could be judged: that is the instrument's doing."""
    assert (step().verdict, step().why) == ("invalid", "it ended before anything could be judged")
