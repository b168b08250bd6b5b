"""When visits arrive: an arrival process as a list of segments, turned into absolute due times.

A spec is one or several segments, comma-separated, that follow one another: `recorded` (the trace's own times),
`constant:RATE[:DURATION]`, `poisson:RATE[:DURATION]`, `ramp:RATE..RATE:DURATION`, `bursty:RATE[:DURATION],cv=X` (gaps
of a Gamma law with that coefficient of variation), `diurnal(peak=RATE, trough=RATE[, period=24h][, cv=1])[:DURATION]`
(a sine that starts at its trough), or `closed:SLOTS` (no schedule: a number of visits is kept open).
Only the last segment may lack its duration; it goes on until the trace or the run ends.
Due times are absolute offsets from the run's start, so nothing drifts, and depend on the spec and the seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Literal

from harness.errors import UsageError
from harness.trace.traffic.renewal import Wave, arrivals_s, operational_times
from harness.units import NS_PER_S, parse_duration_ns, parse_rate_hz

Kind = Literal["recorded", "constant", "poisson", "ramp", "bursty", "diurnal", "closed"]

_SHAPES = (
    "recorded, poisson:50/s, constant:50/s, ramp:10/s..200/s:5m, bursty:50/s,cv=3, diurnal(peak=120/s, trough=10/s)"
    " or closed:200 (a duration may follow: constant:50/s:2m)"
)
# A comma separates segments unless it stands in parentheses or before the cv of a bursty segment.
_SEPARATOR = re.compile(r",(?![^()]*\))(?!\s*cv\s*=)")
_DIURNAL = re.compile(r"diurnal\(([^()]*)\)(?::([^:]*))?\Z")
_DAY_NS = 86_400 * NS_PER_S
_CV = re.compile(r"\d+(\.\d+)?\Z")
CV_MIN, CV_MAX = 0.01, 30.0


@dataclass(frozen=True)
class Segment:
    """One stretch of the arrival process; `duration_ns` None means open-ended, rates are visits per second.

    A diurnal segment swings between `rate_hz` (its trough) and `end_rate_hz` (its peak) once in `period_ns`; `cv` is
    the coefficient of variation of the gaps where they are drawn from a Gamma law.
    """

    kind: Kind
    rate_hz: float = 0.0
    end_rate_hz: float = 0.0
    duration_ns: int | None = None
    slots: int = 0
    cv: float = 1.0
    period_ns: int = 0

    def expected(self) -> float | None:
        """Visits this segment is expected to bring, or None when it has no end or no rate of its own."""
        if self.duration_ns is None or self.kind in ("recorded", "closed"):
            return None
        if self.kind == "diurnal":
            return self._wave().expected(self.duration_ns / NS_PER_S)
        return (self.rate_hz + self.end_rate_hz) / 2 * self.duration_ns / NS_PER_S

    def rate_at_hz(self, offset_ns: int) -> float:
        """The rate at a moment after the segment's start; for kinds with a rate."""
        if self.kind == "diurnal":
            return self._wave().rate_at(offset_ns / NS_PER_S)
        if self.kind != "ramp" or self.duration_ns is None:
            return self.rate_hz
        return self.rate_hz + (self.end_rate_hz - self.rate_hz) * (offset_ns / self.duration_ns)

    def offsets_ns(self, rng: Random) -> Iterator[int]:
        """Arrival times in ns from the segment's start, ascending, until its duration ends (or without end)."""
        if self.kind == "poisson":
            times = _poisson(self.rate_hz, rng)
        elif self.kind == "ramp":
            assert self.duration_ns is not None
            times = _ramp(self.rate_hz, self.end_rate_hz, self.duration_ns)
        elif self.kind == "bursty":
            times = (round(time / self.rate_hz * NS_PER_S) for time in operational_times(self.cv, rng))
        elif self.kind == "diurnal":
            times = (round(time_s * NS_PER_S) for time_s in arrivals_s(self._wave(), self.cv, rng))
        else:
            times = _constant(self.rate_hz)
        for time_ns in times:
            if self.duration_ns is not None and time_ns >= self.duration_ns:
                return
            yield time_ns

    def _wave(self) -> Wave:
        return Wave(self.end_rate_hz, self.rate_hz, self.period_ns / NS_PER_S)


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
                return segment.rate_at_hz(offset_ns - start_ns)
            start_ns += segment.duration_ns
        return None


def parse_arrivals(text: str) -> ArrivalPlan:
    """The arrival plan of a spec such as `recorded`, `poisson:50/s:2m,constant:100/s` or `closed:200`.

    Raises `UsageError` naming the segment that is wrong.
    """
    parts = [part.strip() for part in _SEPARATOR.split(text)]
    segments = tuple(_parse_segment(part) for part in parts)
    for part, segment in zip(parts, segments, strict=True):
        if len(segments) > 1 and segment.kind in ("recorded", "closed"):
            raise UsageError(f"arrivals '{part}' stands alone: it cannot be combined with other segments")
    for part, segment in zip(parts[:-1], segments[:-1], strict=True):
        if segment.duration_ns is None:
            raise UsageError(f"arrivals '{part}' needs a duration, as another segment follows: write {part}:2m")
    return ArrivalPlan(segments)


def _parse_segment(part: str) -> Segment:
    if part.startswith("diurnal"):
        return _parse_diurnal(part)
    if part.startswith("bursty") and "," in part:
        part, _, cv = part.partition(",")
        kind, *rest = part.split(":")
        if kind == "bursty" and len(rest) in (1, 2):
            rate_hz = parse_rate_hz(rest[0])
            return Segment("bursty", rate_hz, rate_hz, _duration(rest[1:]), cv=_cv(cv.partition("=")[2]))
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


def _parse_diurnal(part: str) -> Segment:
    match = _DIURNAL.match(part)
    values: dict[str, str] = {}
    for each in match[1].split(",") if match else ():
        name, _, value = (text.strip() for text in each.partition("="))
        if name not in ("peak", "trough", "period", "cv") or name in values:
            match = None
        values[name] = value
    if match is None or not {"peak", "trough"} <= values.keys():
        raise UsageError(f"'{part}' is not an arrivals spec: write diurnal(peak=120/s, trough=10/s, period=24h, cv=1)")
    peak_hz, trough_hz = parse_rate_hz(values["peak"]), parse_rate_hz(values["trough"])
    if peak_hz < trough_hz:
        raise UsageError(f"'{part}': the peak is below the trough")
    return Segment(
        "diurnal",
        trough_hz,
        peak_hz,
        _duration([] if match[2] is None else [match[2]]),
        cv=_cv(values.get("cv", "1")),
        period_ns=_duration([values["period"]] if "period" in values else []) or _DAY_NS,
    )


def _cv(text: str) -> float:
    text = text.strip()
    if not _CV.match(text) or not CV_MIN <= float(text) <= CV_MAX:
        raise UsageError(
            f"'{text}' is not a cv: a number from {CV_MIN:g} to {CV_MAX:g} (1 is Poisson, more is burstier)"
        )
    return float(text)


def _duration(texts: list[str]) -> int | None:
    if not texts:
        return None
    duration_ns = parse_duration_ns(texts[0])
    if duration_ns <= 0:
        raise UsageError(f"'{texts[0]}' is not a duration above zero")
    return duration_ns
