"""From what a step showed to its verdict and one line that says why."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from harness.capacity.evidence import Evidence, Shown
from harness.capacity.search import GROWTH, REPLIES, Step, Trial
from harness.judge.check import quantity


class Failed(NamedTuple):
    """A threshold that is no share and did not hold in the step's run; `why` is one line."""

    slo: str
    why: str


def judged(trial: Trial, evidence: Evidence, *, invalid: str = "", failed: Failed | None = None) -> Step:
    """The step that `trial` became.

    `invalid` says, in one line, why the instrument did not hold; it beats everything. Where the test has not decided,
    the figures at the end do, and the step is not sure.
    """
    step = Step(
        number=trial.number,
        stage=trial.stage,
        rate_hz=trial.rate_hz,
        verdict="invalid",
        sure=True,
        why=invalid,
        seconds=evidence.seconds,
        shown=tuple(evidence.shown),
    )
    if invalid:
        return step
    if evidence.growing:
        return msgspec.structs.replace(step, verdict="broken", why=evidence.growing, slo=GROWTH)
    broken = [shown for shown in evidence.shown if not shown.ok]
    if broken:
        worst = max(broken, key=_used)
        sure = any(shown.answer == "broken" for shown in broken)
        return msgspec.structs.replace(step, verdict="broken", sure=sure, why=_said(worst), slo=worst.slo)
    if failed is not None:
        return msgspec.structs.replace(step, verdict="broken", why=f"{failed.slo}: {failed.why}", slo=failed.slo)
    if not evidence.shown:
        return msgspec.structs.replace(step, why="it ended before anything could be judged")
    nearest = max(evidence.shown, key=_used)
    return msgspec.structs.replace(step, verdict="held", sure=evidence.answer == "held", why=_said(nearest))


def unanswered_step(trial: Trial, evidence: Evidence, why: str) -> Step:
    """The step that `trial` became when not one reply came; `why` is one line.

    It is broken, and no share says where: a target that is down has left the line that leads to the border.
    """
    return Step(
        number=trial.number,
        stage=trial.stage,
        rate_hz=trial.rate_hz,
        verdict="broken",
        sure=True,
        why=why,
        slo=REPLIES,
        seconds=evidence.seconds,
    )


def _used(shown: Shown) -> float:
    """How much of what is allowed was used up; without any value nothing says that it holds."""
    return shown.share / shown.allowed if shown.count else float("inf")


def _said(shown: Shown) -> str:
    if not shown.count:
        return f"{shown.slo}: nothing to judge was measured"
    return f"{shown.slo}: {quantity(shown.share, 'ratio')} bad, {quantity(shown.allowed, 'ratio')} allowed"
