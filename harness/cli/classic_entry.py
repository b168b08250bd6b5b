"""Composition root of `locustfiles/classic.py`: profile and plan are read here, the visitors are of `fleet.classic`."""

from __future__ import annotations

from collections.abc import Iterator

from harness.cli.run import settle_profile
from harness.config.model import RunConfig
from harness.errors import UsageError
from harness.fleet.classic import ClassicVisitor, install_classic
from harness.plan.arrivals import parse_arrivals
from harness.plan.schedule import PlannedVisit, plan_visits
from harness.trace.check import Validation
from harness.trace.codec import open_trace
from harness.trace.lines import BadLines

__all__ = ["ClassicVisitor"]


def _load_config(path: str) -> RunConfig:
    if not path:
        raise UsageError("no configuration: add --harness-config PROFILE.toml")
    return settle_profile(path)


def _plan(config: RunConfig) -> Iterator[PlannedVisit]:
    """The visits that `harness run` would plan for this configuration."""

    def lines() -> Iterator[bytes]:
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
    )


def _plan_end_ns(config: RunConfig) -> int | None:
    ends = (config.duration_ns, parse_arrivals(config.arrivals).duration_ns())
    return min((end for end in ends if end is not None), default=None)


install_classic(_load_config, _plan, _plan_end_ns)
