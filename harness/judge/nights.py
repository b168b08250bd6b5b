"""A run against its history: which nights make the baseline, and what tonight's run means beside them.

Two questions are asked of every metric. The **gate** asks whether tonight lies outside what the last baseline nights
scatter (a jump). The **change points** of the whole series ask whether its level moved (a drift, too slow for the
gate). What keeps the baseline honest, all per metric:

- A run enters when it is valid, complete and kept its thresholds, and the gate did not refuse this metric. People may
  `accept` a refused run or `reject` any; an INVALID or partial run never enters.
- A new change point for the worse fails the run that shows it, once, and gets an id that stays. It is `open` until
  people accept it (the new level is right) or reject it (it must be repaired).
- The baseline begins at the latest change that was accepted, or was for the better, or has been open for `ADOPT_AFTER`
  nights. So a lasting change alarms for a week at most, unless it was rejected: then until the old level is back. And a
  slow leak is not swallowed: each further change point of it alarms anew.

Everything here is a pure function of the nights, what was decided, and a source of randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import ceil
from random import Random
from typing import Final, Literal

import msgspec

from harness.config.model import Regression
from harness.judge.changes import ORDERS, find_changes
from harness.judge.check import Check, quantity
from harness.judge.gate import MIN_NIGHTS, Gate, gate
from harness.judge.metric import Followed

# An open change for the worse becomes the baseline after so many nights.
ADOPT_AFTER: Final = 7
# So close to a reported change, another of the same direction is taken for the same.
SAME_WITHIN: Final = 5
# The part of a history that is searched for changes.
SEARCHED: Final = 90
# The most random orders that a split is held against; below an alpha of one in so many nothing is found.
MOST_ORDERS: Final = 10_000

State = Literal["open", "accepted", "rejected"]


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """One stored run as the history sees it.

    `sound` says that it is valid and complete, `kept_slo` that it met its own thresholds and was stopped by no guard;
    `refused` names the metrics that the gate refused. `values` holds what was measured, by metric. `decision` is what
    people said.
    """

    run_id: str
    started_at: str
    status: str = "PASS"
    sound: bool = True
    kept_slo: bool = True
    refused: frozenset[str] = frozenset()
    values: dict[str, float] = {}
    decision: Literal["", "accepted", "rejected"] = ""


class KnownChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was reported: it begins with `run_id`; `reported_by` is the run that first showed it.

    `decided_at` is when people accepted or rejected it (ISO 8601, UTC), "" while it is open.
    """

    id: str
    metric: str
    run_id: str
    before: float
    after: float
    worse: bool
    reported_by: str = ""
    state: State = "open"
    decided_at: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Tonight in one metric: its value, the gate's answer (None: not enough history), changes seen for the first time.

    `nights` is the size of the baseline, `changes` all changes of the series that count, new ones included.
    """

    metric: Followed
    value: float | None
    gate: Gate | None
    nights: int
    changes: tuple[KnownChange, ...]
    new: tuple[KnownChange, ...]

    def checks(self) -> list[Check]:
        """The checks of kind "regression" that follow; none when the metric was not measured tonight."""
        if self.value is None:
            return []
        return [self._gate_check(self.value), *(self._change_check(change) for change in self.new if change.worse)]

    def _gate_check(self, value: float) -> Check:
        unit = self.metric.unit
        found = self.gate
        if found is None:
            message = f"not enough history: {self.nights} baseline nights, {MIN_NIGHTS} are needed"
        else:
            message = (
                f"{quantity(value, unit)}, {self.metric.said(found.center, value)} against "
                f"{quantity(found.center, unit)}, the median of {found.nights} nights"
            )
        return Check(
            name=f"{self.metric.text} against history",
            kind="regression",
            ok=found is None or found.ok,
            observed=value,
            limit=None if found is None else round(found.limit, 6),
            unit=unit,
            message=message,
        )

    def _change_check(self, change: KnownChange) -> Check:
        unit = self.metric.unit
        return Check(
            name=f"{self.metric.text} change {change.id}",
            kind="regression",
            ok=False,
            observed=change.after,
            limit=change.before,
            unit=unit,
            message=(
                f"the level moved from {quantity(change.before, unit)} to {quantity(change.after, unit)} "
                f"({self.metric.said(change.before, change.after)}) with run {change.run_id}; "
                f"harness history accept {change.id}, or reject it"
            ),
        )


def stand(
    tonight: Night,
    earlier: Sequence[Night],
    known: Iterable[KnownChange],
    metric: Followed,
    rules: Regression,
    rng: Random,
) -> Standing:
    """How `tonight` stands in one metric; `earlier` are the nights of the same series before it, in order of time.

    An unsound run shows no change and is not gated; its standing has no value.
    """
    mine = [change for change in known if change.metric == metric.text]
    value = tonight.values.get(metric.text) if tonight.sound else None
    values = [night.values[metric.text] for night in baseline(earlier, mine, metric, rules)]
    if value is None:
        return Standing(metric=metric, value=None, gate=None, nights=len(values), changes=tuple(mine), new=())
    least = metric.least(rules.min_effect)
    found = gate(value, values, worse=metric.worse, least=least, alpha=rules.alpha, absolute=metric.absolute)
    new = new_changes([*earlier, tonight], mine, metric, rules, rng, seen_by=tonight.run_id)
    return Standing(metric=metric, value=value, gate=found, nights=len(values), changes=(*mine, *new), new=tuple(new))


def baseline(nights: Sequence[Night], known: Iterable[KnownChange], metric: Followed, rules: Regression) -> list[Night]:
    """The last `rules.history` nights that make the baseline of a metric, in order; see the module."""
    nights = [night for night in nights if _measured(night, metric)]
    begin, settled_until = 0, ""
    to_repair = False
    for at, change in _placed(known, nights, metric):
        if change.state == "rejected":
            to_repair = to_repair or change.worse
        elif change.state == "accepted" or not change.worse:
            begin, settled_until, to_repair = at, change.decided_at, False
        elif len(nights) - at >= ADOPT_AFTER and not to_repair:
            begin, settled_until = at, nights[at + ADOPT_AFTER - 1].started_at
    chosen = [
        night
        for night in nights[begin:]
        # What was refused beside the old level belongs to the new one, once that is settled.
        if night.decision == "accepted"
        or (night.kept_slo and (metric.text not in night.refused or night.started_at <= settled_until))
    ]
    return chosen[-rules.history :]


def _measured(night: Night, metric: Followed) -> bool:
    return night.sound and night.decision != "rejected" and metric.text in night.values


def _placed(known: Iterable[KnownChange], nights: Sequence[Night], metric: Followed) -> list[tuple[int, KnownChange]]:
    """The metric's changes whose nights are still there, with their places, in order."""
    places = {night.run_id: at for at, night in enumerate(nights)}
    mine = (change for change in known if change.metric == metric.text and change.run_id in places)
    return sorted(((places[change.run_id], change) for change in mine), key=lambda placed: placed[0])


def new_changes(
    nights: Sequence[Night],
    known: Iterable[KnownChange],
    metric: Followed,
    rules: Regression,
    rng: Random,
    *,
    seen_by: str = "",
) -> list[KnownChange]:
    """The change points of a series that are large enough to count and are not among those `known`, in order.

    A reported change is a fixed cut: the series is searched from the latest one on, so what was reported never moves.
    """
    nights = [night for night in nights if _measured(night, metric)]
    placed = _placed(known, nights, metric)
    cut = max((at for at, _ in placed), default=0)
    begin = max(cut, len(nights) - SEARCHED)
    taken = [(at, change.worse) for at, change in placed]
    new: list[KnownChange] = []
    values = [night.values[metric.text] for night in nights[begin:]]
    # A p value is no smaller than one in so many orders: a strict alpha needs more of them to find anything at all.
    orders = max(ORDERS, min(ceil(1 / rules.alpha), MOST_ORDERS))
    found = find_changes(values, alpha=rules.alpha, rng=rng, orders=orders)
    # A drift may come in steps that are each too small to count: they are held against the level where it began.
    level = found[0].before if found else 0.0
    for change in found:
        if abs(metric.effect(level, change.after)) < metric.least(rules.min_effect):
            continue
        worse, before, level = metric.is_worse(level, change.after), level, change.after
        index = begin + change.index
        # A cut that was reported with few nights behind it may have been placed some nights off.
        if any(abs(at - index) <= SAME_WITHIN and how == worse for at, how in taken):
            continue
        run_id = nights[index].run_id
        new.append(
            KnownChange(
                id=change_id(metric.text, run_id),
                metric=metric.text,
                run_id=run_id,
                before=before,
                after=change.after,
                worse=worse,
                reported_by=seen_by,
            )
        )
    return new


def change_id(metric: str, run_id: str) -> str:
    """The id of a change of `metric` that begins with a run: always the same for the same two."""
    return "c-" + sha256(f"{metric}\n{run_id}".encode()).hexdigest()[:8]
