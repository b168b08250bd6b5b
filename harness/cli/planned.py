"""The plan of a configuration: which visits come, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.config.model import RunConfig
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit, Supply, plan_visits
from harness.trace.check import Validation
from harness.trace.codec import open_trace
from harness.trace.lines import BadLines
from harness.units import NS_PER_S


def planned_visits(
    config: RunConfig, unchecked: BadLines | None = None, supply: Supply | None = None
) -> Iterator[PlannedVisit]:
    """The visits that a run of this configuration plays, in order of their due time.

    The trace was read through before, so bad lines matter only where they are skipped. Unless `unchecked` is given:
    then each line is judged as it comes (its requests only as to being JSON), and `unchecked` gets the bad ones.
    `supply` is told when the visits give out before the plan's time is over.
    """

    def lines() -> Iterator[bytes]:
        if unchecked is not None:
            return (read.raw for read, _ in Validation(config.trace, unchecked, requests=False))
        if config.on_bad_line == "skip":
            return (read.raw for read, _ in Validation(config.trace, BadLines("skip")))
        return (raw for _, raw in open_trace(config.trace)[1])

    return plan_visits(
        lines,
        parse_arrivals(config.arrivals),
        seed=config.seed,
        speed=config.speed,
        amplify=config.amplify,
        loop=config.loop,
        duration_ns=config.duration_ns,
        limit_visits=config.limit_visits,
        supply=supply,
    )


def plan_end_ns(config: RunConfig) -> int | None:
    """When arrivals end, in ns from the run's start; None when they end with the trace's last visit."""
    ends = (config.duration_ns, parse_arrivals(config.arrivals).duration_ns())
    return min((end for end in ends if end is not None), default=None)


def planned_until(end_ns: int, by_second: Mapping[int, int], warmup_ns: int = 0) -> int:
    """How many visits were due from the warm-up's end until `end_ns` (both after the start), by counts of seconds.

    Of the second that `end_ns` lies in its part is taken.
    """
    due = 0.0
    for second, count in by_second.items():
        began_ns = second * NS_PER_S
        if began_ns >= warmup_ns:
            due += count * min(1.0, max(0.0, (end_ns - began_ns) / NS_PER_S))
    return round(due)
