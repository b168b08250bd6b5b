"""What the engine can do here: how late its alarm rings, and the rate it keeps at 70 % of a core with little lag.

The rate is found, not extrapolated: a closed loop of a second or so says about what a visit of one call costs. Then
arrivals at a fixed rate are played against a server in another process, some three times, each time at the rate that
the CPU time of the last play suggests: spaced calls cost more than crowded ones, each wakes the loop for itself. The
highest rate that was kept within 70 % of a core, with a lag within the limit of a valid run, is the honest one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.bench.children import BenchError, fast_server, module, run_child
from harness.bench.job import Job, Play
from harness.bench.subjects import Bench
from harness.compiled import compiled
from harness.config.model import ValidityLimits
from harness.doctor.findings import Finding, judged

_PLAY_S = 1.5
_PLAYS = 3
_CONNECTIONS = 50
_PROBE_VISITS = 15_000
# A generator above this share of its core invents latency.
_SHARE_MAX = 0.7
_SHARE_AIM = 0.66
# Of the closed loop's rate, to begin with; and of a rate that came late, to go on with.
_FIRST_RATIO = 0.3
_BACK_OFF_RATIO = 0.6
_LIMIT_S = 30.0


class _Lateness(msgspec.Struct):
    exact: bool
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Rate:
    """The rate that one worker keeps: single-call visits a second, with what it cost and how late they were."""

    arrivals_hz: int
    cpu_ratio: float
    lag_p50_ms: float
    lag_p99_ms: float


def alarm_finding() -> Finding:
    """Measures the alarm for a second."""
    try:
        with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder:
            ended = run_child(module("harness.doctor.alarm"), Path(folder), limit_s=_LIMIT_S)
        if ended.exit_code != 0:
            raise BenchError(ended.last_words)
        late = msgspec.json.decode(ended.stdout, type=_Lateness)
    except BenchError as error:
        return Finding("timer", "bad", f"could not be measured: {error}", "the engine does not run here")
    kind = "timerfd" if late.exact else "no timerfd, the loop's own timers"
    limit_ms = ValidityLimits().lag_p99_ms
    level = judged(late.p99_ms, warn=1.0, bad=limit_ms)
    advice = "visits will start late: find what else runs here, or take a machine with cores of its own"
    observed = f"{kind}; rings {late.p50_ms:.3f} ms late (p50), {late.p99_ms:.3f} ms (p99)"
    return Finding("timer", level, observed, "" if level == "ok" else advice)


def rate_finding() -> tuple[Finding, Rate | None]:
    """Measures the rate in less than ten seconds; None when none could be kept."""
    try:
        with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder, fast_server() as server:
            rate = honest_rate(Bench(server, Path(folder)))
    except BenchError as error:
        return Finding("rate", "bad", f"could not be measured: {error}", "see harness bench"), None
    if rate is None:
        observed = f"no rate was kept within {_SHARE_MAX:.0%} of a core and a lag p99 of {_lag_limit_ms():g} ms"
        return Finding("rate", "bad", observed, "something else runs here: free a core, or take another machine"), None
    form = "compiled" if compiled() else "interpreted"
    observed = (
        f"{rate.arrivals_hz:,} attempts/s by one worker with the engine {form}, at {rate.cpu_ratio:.0%} of a core "
        f"and a lag of {rate.lag_p50_ms:.3f} ms (p50), {rate.lag_p99_ms:.3f} ms (p99)"
    )
    return Finding("rate", "ok", observed, "plain HTTP on kept connections; TLS and new connections cost more"), rate


def honest_rate(bench: Bench) -> Rate | None:
    """The highest rate that was kept, or None."""
    url = bench.server.url
    probe = bench.bare(Job(url=url, visits=_PROBE_VISITS, steps=1, slots=_CONNECTIONS, limit_s=_LIMIT_S))
    rate_hz = probe.attempts / probe.cpu_s * _FIRST_RATIO
    best: Rate | None = None
    for _ in range(_PLAYS):
        visits = round(rate_hz * _PLAY_S)
        played = bench.bare(Job(url=url, visits=visits, steps=1, rate_hz=rate_hz, limit_s=_LIMIT_S))
        kept = kept_rate(played)
        if kept is not None and (best is None or kept.arrivals_hz > best.arrivals_hz):
            best = kept
        in_time = _in_time(played)
        rate_hz *= _SHARE_AIM / (played.cpu_s / played.wall_s) if in_time else _BACK_OFF_RATIO
    return best


def kept_rate(played: Play) -> Rate | None:
    """The rate of a play that stayed in time and within 70 % of a core, else None."""
    cpu_ratio = played.cpu_s / played.wall_s
    if not _in_time(played) or cpu_ratio > _SHARE_MAX:
        return None
    assert played.lag_p50_ms is not None and played.lag_p99_ms is not None
    return Rate(int(played.attempts / played.wall_s), cpu_ratio, played.lag_p50_ms, played.lag_p99_ms)


def _in_time(played: Play) -> bool:
    return played.lag_p99_ms is not None and played.lag_p99_ms <= _lag_limit_ms()


def _lag_limit_ms() -> float:
    return ValidityLimits().lag_p99_ms
