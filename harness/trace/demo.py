"""The recipe of the demo's trace: the rhythm of a real site's visitors, everything else made up.

From an access log only this goes in: when sessions began, the pauses between their pages, which sessions were the same
visitor's, and the device class. All hours are laid over one minute (the log's seconds stay where they were within
theirs), pauses are capped, and sessions are drawn again under new identities until there are enough. Requests,
events and the few visitors with foreign ids are invented. The same log and seed give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec
import orjson

from harness.trace.model import Header, Identity, Op, Step, Visit
from harness.trace.sessions import Session
from harness.trace.shopper import app_details, engagement, impression
from harness.units import NS_PER_S

SEED = 20150517
VISITS = 1500
SPAN_S = 50.0
LAST_STEP_S = 58.0
LONGEST_THINK_S = 5.0
SEVERAL_STEPS_RATIO = 0.4
# Between an earlier visit's last step and the visitor's return: room for slow replies and retries.
RETURN_MARGIN_S = 5.0
_ASSUMED_REPLY_S = 0.5
_STALE_RATIO = 0.01
_DISPLAY_RATIO = 0.3
_ACCEPT_RATIO = 0.3
_SOURCE = (
    "timing and session structure of a public sample access log (elastic/examples, Apache-2.0), laid over one minute;"
    " everything else invented"
)


class _Shape(NamedTuple):
    """What is taken from one session: whose it was, the device class, its start and its pauses in seconds."""

    owner: str
    cohort: str
    at_s: float
    thinks_s: tuple[float, ...]

    @property
    def end_s(self) -> float:
        return self.at_s + sum(self.thinks_s)

    @property
    def settled_s(self) -> float:
        """When its last reply should be there."""
        return self.end_s + _ASSUMED_REPLY_S * (1 + len(self.thinks_s))


class _Planned(NamedTuple):
    """A shape with its place in a visitor's life."""

    shape: _Shape
    visitor: str
    came_before: bool
    returns: bool


def demo_trace(sessions: Iterable[Session], seed: int = SEED, visits: int = VISITS) -> tuple[Header, list[Visit]]:
    """Header and visits (ordered by `at`) of the demo's trace, made from the sessions of an access log.

    There are `visits` of them, or as many as there are sessions if that is more. Draws depend on `seed` alone.
    """
    rng = Random(seed)
    shapes = [_overlay(rng, session) for session in sessions]
    shapes += _again(rng, shapes, visits - len(shapes))
    planned = sorted(_identified(shapes), key=lambda plan: (plan.shape.at_s, plan.visitor))
    made = [_visit(rng, f"v-{index:06d}", plan) for index, plan in enumerate(planned, start=1)]
    span_s = round(made[-1].at - made[0].at, 3)
    header = Header(harness_trace=1, source=_SOURCE, seed=seed, visits=len(made), span_s=span_s, anonymized=True)
    return header, made


def _overlay(rng: Random, session: Session) -> _Shape:
    """The session on the demo's minute; logs know whole seconds, so the fraction is drawn."""
    views_s = sorted(view_ns // NS_PER_S + rng.random() for view_ns in session.views_ns)
    at_s = round(views_s[0] % 60 / 60 * SPAN_S, 3)
    thinks_s: list[float] = []
    now_s = at_s
    for before_s, view_s in pairwise(views_s):
        think_s = round(min(view_s - before_s, LONGEST_THINK_S), 3)
        now_s += think_s
        if now_s > LAST_STEP_S:
            break
        thinks_s.append(think_s)
    return _Shape(session.visitor, session.cohort, at_s, tuple(thinks_s))


def _again(rng: Random, shapes: list[_Shape], count: int) -> list[_Shape]:
    """`count` shapes more, by new visitors, at other moments; long ones often enough to reach the wanted share."""
    several = [shape for shape in shapes if shape.thinks_s]
    single = [shape for shape in shapes if not shape.thinks_s]
    wanted = max(0, round(SEVERAL_STEPS_RATIO * (len(shapes) + count)) - len(several))
    drawn: list[_Shape] = []
    for number in range(count):
        pattern = rng.choice(several if number < wanted or not single else single)
        at_s = round(rng.choice(shapes).at_s // 1 + rng.random(), 3)
        room_s = LAST_STEP_S - sum(pattern.thinks_s)
        drawn.append(pattern._replace(owner=f"again-{number}", at_s=min(at_s, round(room_s, 3))))
    return drawn


def _identified(shapes: list[_Shape]) -> list[_Planned]:
    """Visitors for the shapes: an owner's sessions are one visitor's as long as they keep apart, else several's."""
    by_owner: defaultdict[str, list[_Shape]] = defaultdict(list)
    for shape in shapes:
        by_owner[shape.owner].append(shape)
    planned: list[_Planned] = []
    visitors = 0
    for owned in by_owner.values():
        lives: list[list[_Shape]] = []
        for shape in sorted(owned, key=lambda shape: shape.at_s):
            life = next((life for life in lives if life[-1].settled_s + RETURN_MARGIN_S <= shape.at_s), None)
            if life is None:
                lives.append([shape])
            else:
                life.append(shape)
        for life in lives:
            visitors += 1
            last = len(life) - 1
            for index, shape in enumerate(life):
                planned.append(_Planned(shape, f"u{visitors:05d}", index > 0, index < last))
    return planned


def _visit(rng: Random, visit_id: str, plan: _Planned) -> Visit:
    details = app_details(rng, plan.shape.cohort)
    steps = [_step("get_engagement", 0.0, _first_identity(rng, plan), engagement(rng, details, first=True))]
    now_s = plan.shape.at_s
    for think_s in plan.shape.thinks_s:
        now_s += think_s
        steps.append(_step("get_engagement", think_s, "chain", engagement(rng, details, first=False)))
    # Not when the visitor returns: the margin before that was taken from the shape.
    if not plan.returns and rng.random() < _DISPLAY_RATIO and now_s < LAST_STEP_S - LONGEST_THINK_S:
        steps.append(_step("update", round(rng.uniform(0.5, 1.5), 3), "chain", impression("impDisplay")))
        if rng.random() < _ACCEPT_RATIO:
            steps.append(_step("update", round(rng.uniform(1.0, 3.0), 3), "chain", impression("impAccept")))
    return Visit(
        id=visit_id,
        visitor=plan.visitor,
        at=plan.shape.at_s,
        cohort=plan.shape.cohort,
        returns=plan.returns,
        steps=steps,
    )


def _first_identity(rng: Random, plan: _Planned) -> Identity:
    if plan.came_before:
        return "return"
    return "stale" if rng.random() < _STALE_RATIO else "fresh"


def _step(op: Op, think_s: float, identity: Identity, request: dict[str, object]) -> Step:
    return Step(op=op, think=think_s, identity=identity, request=msgspec.Raw(orjson.dumps(request)))
