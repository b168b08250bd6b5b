"""`Scenario`: everything the practice target is told to do, as plain, checked data.

Scenario time starts with the first engagement request, not with the process: a freeze "at 20s" falls 20 s into the
load, however long the start-up took. All durations are nanoseconds inside.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from harness.units import NS_PER_MS, NS_PER_S


class Ns(int):
    """A duration in nanoseconds; scenario files write it as `250ms`, `30s`, `5m` or bare seconds."""


Ratio = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]

FaultKind = Literal["reset", "hang", "throttled", "unavailable", "internal", "redirect", "garbage"]
BadIds = Literal["new_session", "401", "404"]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a scenario file."""


class Service(Table, frozen=True, kw_only=True):
    """How long the service works on a call, and on how many at once.

    Service times have mean `mean_ns` and, if lognormal, the coefficient of variation `cv`. `slots` calls are worked on
    at a time, the others wait in order of arrival (None: all at once); more than `max_waiting` waiting calls are
    answered 503 (None: no limit).
    """

    distribution: Literal["constant", "exponential", "lognormal"] = "lognormal"
    mean_ns: Ns = msgspec.field(default=Ns(8 * NS_PER_MS), name="mean")
    cv: Positive = 0.5
    slots: Count | None = None
    max_waiting: Natural | None = None


class Sessions(Table, frozen=True, kw_only=True):
    """How long sessions live and how many there may be (contract 2.4, 3.4); None means no limit.

    A session ends `max_age_ns` after it began, or `idle_ns` after its last call. The call after `max_calls` of one
    session gets a new one. A visitor without a session is forgotten `remember_ns` after its last call.
    """

    max_age_ns: Ns = msgspec.field(default=Ns(6 * 3600 * NS_PER_S), name="max_age")
    idle_ns: Ns | None = msgspec.field(default=None, name="idle")
    max_calls: Count | None = None
    per_visitor: Count | None = None
    per_account: Count | None = None
    remember_ns: Ns = msgspec.field(default=Ns(6 * 3600 * NS_PER_S), name="remember")


class Cold(Table, frozen=True, kw_only=True):
    """An account that must be loaded first: 500/20 for `lasts_ns` after its first call and for its first `calls`."""

    lasts_ns: Ns = msgspec.field(default=Ns(0), name="lasts")
    calls: Natural = 0


class Level(Table, frozen=True, kw_only=True):
    """From `at_ns` of scenario time on, an engagement is available with probability `ratio`."""

    at_ns: Ns = msgspec.field(name="at")
    ratio: Ratio


class Wave(Table, frozen=True, kw_only=True):
    """A sinusoid added to the availability ratio, clipped to 0…1."""

    amplitude: Ratio
    period_ns: Ns = msgspec.field(name="period")


class Availability(Table, frozen=True, kw_only=True):
    """When an engagement is available: after a visit's first `not_available_first` calls (one number, or [least,
    most] drawn per visit), with probability `ratio`, replaced by the latest of `levels`, plus the `wave`."""

    # Not a pair: msgspec 0.22 crashes on a union of a bounded int and a tuple of fixed length.
    not_available_first: Natural | tuple[Natural, ...] = 0
    ratio: Ratio = 1.0
    levels: tuple[Level, ...] = ()
    wave: Wave | None = None


class Freeze(Table, frozen=True, kw_only=True):
    """From `at_ns` on nothing is answered for `lasts_ns`; every `every_ns` again, if given."""

    at_ns: Ns = msgspec.field(name="at")
    lasts_ns: Ns = msgspec.field(name="lasts")
    every_ns: Ns | None = msgspec.field(default=None, name="every")


class Fault(Table, frozen=True, kw_only=True):
    """A share of the calls goes wrong on purpose, from `at_ns` on, for `lasts_ns` (None: to the end).

    `reset` closes the connection without a reply, `hang` never answers, `throttled` is 429 with Retry-After,
    `unavailable` 503, `internal` 500/18, `redirect` 302, `garbage` a 200 that cannot be read. None of them touches
    visitors or sessions.
    """

    kind: FaultKind
    ratio: Ratio
    at_ns: Ns = msgspec.field(default=Ns(0), name="at")
    lasts_ns: Ns | None = msgspec.field(default=None, name="lasts")


class Engagement(Table, frozen=True, kw_only=True):
    """The engagement on offer; ids are made from seed and account."""

    revision: Count = 44
    valid_for_s: Count = 900
    language: str = "en-US"
    skill_id: int | None = 23
    skill_name: str | None = "TestSkill"


class Scenario(Table, frozen=True, kw_only=True):
    """One behaviour of the practice target, complete.

    `bad_ids` says what a well-formed but unknown vid or sid gets on a POST (contract section 7, row 8). `strict`
    refuses every violation of the contract; otherwise those are let pass that real servers are known to ignore.
    `retry_after_s` goes with 429. `accounts` are those that exist (empty: all).
    """

    name: str = "custom"
    service: Service = Service()
    sessions: Sessions = Sessions()
    availability: Availability = Availability()
    cold: Cold = Cold()
    engagement: Engagement = Engagement()
    freezes: tuple[Freeze, ...] = msgspec.field(default=(), name="freeze")
    faults: tuple[Fault, ...] = msgspec.field(default=(), name="fault")
    bad_ids: BadIds = "new_session"
    strict: bool = False
    retry_after_s: Natural = 1
    accounts: tuple[str, ...] = ()


PRESETS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="healthy"),
        Scenario(name="cold-account", cold=Cold(lasts_ns=Ns(3 * NS_PER_S))),
        Scenario(
            name="flaky",
            availability=Availability(not_available_first=(0, 2), ratio=0.9),
            sessions=Sessions(max_calls=20),
            faults=(
                Fault(kind="reset", ratio=0.005),
                Fault(kind="hang", ratio=0.001),
                Fault(kind="throttled", ratio=0.01),
                Fault(kind="unavailable", ratio=0.01),
                Fault(kind="internal", ratio=0.01),
            ),
        ),
        Scenario(name="freeze", freezes=(Freeze(at_ns=Ns(20 * NS_PER_S), lasts_ns=Ns(10 * NS_PER_S)),)),
        Scenario(name="caps", sessions=Sessions(max_calls=3, per_visitor=2, per_account=2_000)),
        Scenario(
            name="knee",
            service=Service(distribution="exponential", mean_ns=Ns(40 * NS_PER_MS), slots=8, max_waiting=4_000),
        ),
    )
}
