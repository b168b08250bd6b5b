"""When visits arrive: an arrival process as a list of segments, turned into absolute due times.

A spec is one or several segments, comma-separated, that follow one another: `recorded` (the trace's own times),
`constant:RATE[:DURATION]`, `poisson:RATE[:DURATION]`, `ramp:RATE..RATE:DURATION`, or `closed:SLOTS` (no schedule: a
number of visits is kept open). Only the last segment may lack its duration; it goes on until the trace or the run ends.
Due times are absolute offsets from the run's start, so nothing drifts, and depend on the spec and the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Literal

from harness.errors import UsageError
from harness.units import NS_PER_S, parse_duration_ns, parse_rate_hz

Kind = Literal["recorded", "constant", "poisson", "ramp", "closed"]

_SHAPES = (
    "recorded, poisson:50/s, constant:50/s, ramp:10/s..200/s:5m or closed:200 (a duration may follow: constant:50/s:2m)"
)


@dataclass(frozen=True)
class Segment:
    """One stretch of the arrival process; `duration_ns` None means open-ended, rates are visits per second."""

    kind: Kind
    rate_hz: float = 0.0
    end_rate_hz: float = 0.0
    duration_ns: int | None = None
    slots: int = 0

    def expected(self) -> float | None:
        """Visits this segment is expected to bring, or None when it has no end or no rate of its own."""
        if self.duration_ns is None or self.kind in ("recorded", "closed"):
            return None
        return (self.rate_hz + self.end_rate_hz) / 2 * self.duration_ns / NS_PER_S

    def offsets_ns(self, rng: Random) -> Iterator[int]:
        """Arrival times in ns from the segment's start, ascending, until its duration ends (or without end)."""
        if self.kind == "poisson":
            times = _poisson(self.rate_hz, rng)
        elif self.kind == "ramp":
            assert self.duration_ns is not None
            times = _ramp(self.rate_hz, self.end_rate_hz, self.duration_ns)
        else:
            times = _constant(self.rate_hz)
        for time_ns in times:
            if self.duration_ns is not None and time_ns >= self.duration_ns:
                return
            yield time_ns


def _constant(rate_hz: float) -> Iterator[int]:
    number = 0
    while True:
        yield round(number * NS_PER_S / rate_hz)
        number += 1


def _poisson(rate_hz: float, rng: Random) -> Iterator[int]:
    time_s = 0.0
    while True:
        time_s += rng.expovariate(rate_hz)
        yield round(time_s * NS_PER_S)


def _ramp(start_hz: float, end_hz: float, duration_ns: int) -> Iterator[int]:
    """Arrival k comes when the integral of the linear rate reaches k: the first root of a quadratic."""
    duration_s = duration_ns / NS_PER_S
    slope = (end_hz - start_hz) / duration_s
    number = 0
    while True:
        under = start_hz * start_hz + 2 * slope * number
        if under < 0:
            return
        # The form of the root that neither cancels nor divides by the slope, which may be 0.
        yield round(2 * number / (start_hz + sqrt(under)) * NS_PER_S)
        number += 1


@dataclass(frozen=True)
class ArrivalPlan:
    """A parsed arrivals spec."""

    segments: tuple[Segment, ...]

    @property
    def recorded(self) -> bool:
        """Whether the trace's own times are used."""
        return self.segments[0].kind == "recorded"

    @property
    def closed_slots(self) -> int | None:
        """Visits kept open in a closed-loop run, else None."""
        return self.segments[0].slots if self.segments[0].kind == "closed" else None

    def duration_ns(self) -> int | None:
        """Length of all segments together, or None when the last one has no end."""
        total = 0
        for segment in self.segments:
            if segment.duration_ns is None:
                return None
            total += segment.duration_ns
        return total

    def offsets_ns(self, seed: int) -> Iterator[int]:
        """Due times in ns from the run's start, ascending; for plans with a rate (not recorded, not closed)."""
        start_ns = 0
        for number, segment in enumerate(self.segments):
            for offset_ns in segment.offsets_ns(Random(f"arrivals/{seed}/{number}")):
                yield start_ns + offset_ns
            start_ns += segment.duration_ns or 0

    def peak_rate_hz(self) -> float | None:
        """The highest planned rate, or None for recorded and closed plans, which name none."""
        if any(segment.kind in ("recorded", "closed") for segment in self.segments):
            return None
        return max(max(segment.rate_hz, segment.end_rate_hz) for segment in self.segments)

    def rate_at_hz(self, offset_ns: int) -> float | None:
        """The planned rate at a moment, or None for recorded and closed plans and after the end."""
        start_ns = 0
        for segment in self.segments:
            if segment.kind in ("recorded", "closed"):
                return None
            if segment.duration_ns is None or offset_ns < start_ns + segment.duration_ns:
                if segment.kind != "ramp" or segment.duration_ns is None:
                    return segment.rate_hz
                share = (offset_ns - start_ns) / segment.duration_ns
                return segment.rate_hz + (segment.end_rate_hz - segment.rate_hz) * share
            start_ns += segment.duration_ns
        return None


def parse_arrivals(text: str) -> ArrivalPlan:
    """The arrival plan of a spec such as `recorded`, `poisson:50/s:2m,constant:100/s` or `closed:200`.

    Raises `UsageError` naming the segment that is wrong.
    """
    parts = [part.strip() for part in text.split(",")]
    segments = tuple(_parse_segment(part) for part in parts)
    for part, segment in zip(parts, segments, strict=True):
        if len(segments) > 1 and segment.kind in ("recorded", "closed"):
            raise UsageError(f"arrivals '{part}' stands alone: it cannot be combined with other segments")
    for part, segment in zip(parts[:-1], segments[:-1], strict=True):
        if segment.duration_ns is None:
            raise UsageError(f"arrivals '{part}' needs a duration, as another segment follows: write {part}:2m")
    return ArrivalPlan(segments)


def _parse_segment(part: str) -> Segment:
    kind, *rest = part.split(":")
    if kind == "recorded" and not rest:
        return Segment("recorded")
    if kind == "closed" and len(rest) in (1, 2) and rest[0].isascii() and rest[0].isdigit() and int(rest[0]) > 0:
        return Segment("closed", slots=int(rest[0]), duration_ns=_duration(rest[1:]))
    if kind == "constant" and len(rest) in (1, 2):
        rate_hz = parse_rate_hz(rest[0])
        return Segment("constant", rate_hz, rate_hz, _duration(rest[1:]))
    if kind == "poisson" and len(rest) in (1, 2):
        rate_hz = parse_rate_hz(rest[0])
        return Segment("poisson", rate_hz, rate_hz, _duration(rest[1:]))
    if kind == "ramp" and len(rest) == 2 and rest[0].count("..") == 1:
        start, end = rest[0].split("..")
        return Segment("ramp", parse_rate_hz(start), parse_rate_hz(end), _duration(rest[1:]))
    raise UsageError(f"'{part}' is not an arrivals spec: write {_SHAPES}")


def _duration(texts: list[str]) -> int | None:
    if not texts:
        return None
    duration_ns = parse_duration_ns(texts[0])
    if duration_ns <= 0:
        raise UsageError(f"'{texts[0]}' is not a duration above zero")
    return duration_ns
