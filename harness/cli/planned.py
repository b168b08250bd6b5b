"""The plan of a configuration: which visits come, and until when."""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.model import RunConfig
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit, plan_visits
from harness.trace.check import Validation
from harness.trace.codec import open_trace
from harness.trace.lines import BadLines


def planned_visits(config: RunConfig, *, checked: bool = True) -> Iterator[PlannedVisit]:
    """The visits that a run of this configuration plays, in order of their due time.

    `checked` says that the trace was read through before and that bad lines matter only where they are skipped.
    Otherwise each line is judged as it comes (its requests only as to being JSON): raises `TraceError` on the way.
    """

    def lines() -> Iterator[bytes]:
        if checked and config.on_bad_line == "fail":
            return (raw for _, raw in open_trace(config.trace)[1])
        validation = Validation(config.trace, BadLines(config.on_bad_line), requests=checked)
        return (read.raw for read, _ in validation)

    return plan_visits(
        lines,
        parse_arrivals(config.arrivals),
        seed=config.seed,
        speed=config.speed,
        amplify=config.amplify,
        loop=config.loop,
        duration_ns=config.duration_ns,
        limit_visits=config.limit_visits,
    )


def plan_end_ns(config: RunConfig) -> int | None:
    """When arrivals end, in ns from the run's start; None when they end with the trace's last visit."""
    ends = (config.duration_ns, parse_arrivals(config.arrivals).duration_ns())
    return min((end for end in ends if end is not None), default=None)
