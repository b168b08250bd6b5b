"""What a rehearsed plan asks for: calls and concurrency, and the machines that a real run of it needs.

Everything follows from a rehearsal's end and its snapshot. What one worker reaches and what an open visit weighs are
figures of `harness bench` (docs/bench.md); what this machine has (ports, descriptors) is given.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import msgspec

from harness.config.model import Limits
from harness.judge.latency import latency_blocks
from harness.measure.availability import eventual_counts, first_attempt_counts
from harness.measure.snapshot import Snapshot
from harness.sim.rehearsed import RehearsalEnd
from harness.units import NS_PER_S

# The highest rate at which a run of one worker was valid, and what an open visit with a connection of its own weighs.
WORKER_RATE_HZ = 4_500.0
OPEN_VISIT_KB = 2.41
# A worker or a master before it does anything.
PROCESS_MB = 100.0
# Descriptors that a worker has for other things than connections.
_SPARE_DESCRIPTORS = 100


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to make load with: calls a second that one worker keeps, local ports of an address, descriptors.

    `source_addresses` are those that the run would use; `descriptors` is None where nothing limits them.
    """

    worker_rate_hz: float = WORKER_RATE_HZ
    ports: int
    source_addresses: int = 1
    descriptors: int | None = None


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """A ceiling that the plan breaks: the key in the profile, what it allows, what the plan comes to."""

    limit: str
    allowed: float
    planned: float
    message: str


def breaches(end: RehearsalEnd, limits: Limits) -> list[Breach]:
    """The ceilings of `[limits]` that this plan would be held back by, in the order of the profile."""
    looked_at = (
        ("max_visits_per_s", limits.max_visits_per_s, end.visits_per_s_max, "visits begin in the busiest second"),
        ("max_open_visits", limits.max_open_visits, end.visits_open_max, "visits are open at once"),
        (
            "max_new_sessions_per_min",
            limits.max_new_sessions_per_min,
            end.new_sessions_per_min_max,
            "calls ask for a new session in the busiest minute",
        ),
    )
    return [
        Breach(
            limit=f"limits.{name}",
            allowed=allowed,
            planned=planned,
            message=f"limits.{name} allows {allowed:,g}: {planned:,} {what}",
        )
        for name, allowed, planned, what in looked_at
        if allowed is not None and planned > allowed
    ]


def forecast(end: RehearsalEnd, measured: Snapshot, supply: Supply) -> dict[str, Any]:
    """The plan in figures, as plain data with units in names; None where there is nothing to divide by."""
    arrivals_s = end.arrivals_ns / NS_PER_S
    attempts = measured.total("attempts")
    return {
        "visits": {"planned": end.visits, **measured.by_last("visits")},
        "steps": {"settled": measured.total("steps"), **measured.by_last("steps")},
        "calls": {"total": attempts, **measured.by_last("attempts")},
        "duration_s": {"arrivals": arrivals_s, "until_all_is_over": end.ended_ns / NS_PER_S},
        "rates": {
            "visits_hz": end.visits / arrivals_s if arrivals_s else None,
            "visits_busiest_second": end.visits_per_s_max,
            "calls_busiest_second": end.calls_per_s_max,
            "new_connections_busiest_second": end.connects_per_s_max,
            "new_sessions": end.new_sessions,
            "new_sessions_busiest_minute": end.new_sessions_per_min_max,
        },
        "concurrency": {
            "visits_open": {"mean": end.visits_open_mean, "peak": end.visits_open_max},
            "calls_in_flight": {"mean": end.in_flight_mean, "peak": end.in_flight_max},
            "connections_open": {"mean": end.connections_mean, "peak": end.connections_max},
        },
        "needs": _needs(end, supply),
        **outcome(measured),
        "latency_ms": latency_blocks(measured),
    }


def outcome(measured: Snapshot) -> dict[str, Any]:
    """What visitors get and what it takes: the figures by which policies and services are set side by side."""
    firsts = measured.total("first_attempts")
    waits = latency_blocks(measured).get("time_to_available", {})
    return {
        "retry_amplification": measured.total("attempts") / firsts if firsts else None,
        "availability": {
            "first_attempt_ratio": _ratio(*first_attempt_counts(measured)),
            "eventual_ratio": _ratio(*eventual_counts(measured)),
        },
        "time_to_available_ms": {name: waits.get(name) for name in ("p50", "p95", "p99")},
    }


def _needs(end: RehearsalEnd, supply: Supply) -> dict[str, Any]:
    by_rate = ceil(end.calls_per_s_max / supply.worker_rate_hz)
    room = None if supply.descriptors is None else max(1, supply.descriptors - _SPARE_DESCRIPTORS)
    by_connections = 1 if room is None else ceil(end.connections_max / room)
    workers = max(1, by_rate, by_connections)
    return {
        "workers": workers,
        "workers_because_of": "connections" if by_connections > by_rate else "calls",
        "worker_rate_hz": supply.worker_rate_hz,
        "memory_mb": round((workers + 1) * PROCESS_MB + end.visits_open_max * OPEN_VISIT_KB / 1_000),
        "ports": end.ports_max,
        "ports_of_an_address": supply.ports,
        "source_addresses": max(1, ceil(end.ports_max / supply.ports)),
        "source_addresses_given": supply.source_addresses,
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
