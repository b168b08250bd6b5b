"""Visits in virtual time: what they record, what they cost, and how they end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.config.model import RunConfig
from harness.errors import UsageError
from harness.plan.schedule import PlannedVisit
from harness.sim.behaviour import Behaviour
from harness.sim.rehearsal import rehearse
from harness.sim.rehearsed import RehearsalEnd
from harness.sim.scenario import Availability, Cold, Fault, Ns, Scenario, Service, Sessions
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome
from harness.visitor.retry import POLICIES
from tests.unit.visitor.kept_records import KeptRecords

MS, S = NS_PER_MS, NS_PER_S
STEADY = Service(distribution="constant", mean_ns=Ns(8 * MS))


class Kept(KeptRecords):
    """Keeps which seconds were over, too, and how many attempts there were by then."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[tuple[int, int]] = []

    def on_second(self, second: int) -> None:
        self.seconds.append((second, len(self.all_attempts)))


def planned(due_ns: int, *thinks_s: float, name: str = "v", suffix: str = "", **fields: Any) -> PlannedVisit:
    """A visit with one getEngagement step for each think time; the first is fresh unless `first` says otherwise."""
    first = fields.pop("first", "fresh")
    ops = fields.pop("ops", ["get_engagement"] * len(thinks_s))
    steps = [
        {"op": op, "think": think, "identity": "chain" if index else first, "request": {}}
        for index, (op, think) in enumerate(zip(ops, thinks_s, strict=True))
    ]
    visit = {"visit": name, "visitor": f"p-{name}", "at": 0, "steps": steps} | fields
    return PlannedVisit(due_ns, name, str(visit["visitor"]), suffix, len(steps), orjson.dumps(visit))


def play(
    visits: list[PlannedVisit],
    scenario: Scenario | None = None,
    *,
    rtt_ns: int = 0,
    plan_end_ns: int | None = None,
    **config: Any,
) -> tuple[RehearsalEnd, Kept, Behaviour]:
    """One rehearsal with its records and its service."""
    kept = Kept()
    behaviour = Behaviour(scenario or Scenario(service=STEADY), seed=1)
    settings = RunConfig(run_id="r", trace="t", **{"retry": POLICIES["none"], **config})
    end = rehearse(visits, behaviour, settings, kept, rtt_ns=rtt_ns, plan_end_ns=plan_end_ns, on_second=kept.on_second)
    return end, kept, behaviour


def test_a_visit_leaves_the_records_that_an_engine_would() -> None:
    """Two steps, 8 ms of service and a round trip of 10 ms: every record whole, the connect paid once."""
    end, kept, _ = play([planned(S, 0, 2, name="a", cohort="mobile", suffix="~1")], rtt_ns=10 * MS)
    one, two = S, S + 28 * MS + 2 * S
    assert kept.started == [(S, "mobile")]
    assert kept.all_attempts == [
        Attempt("a~1", "mobile", "get_engagement", 0, 1, Result.available, Chain.started, False, False, 200, -1,
                one, one, one + 10 * MS, one + 10 * MS, one + 28 * MS),
        Attempt("a~1", "mobile", "get_engagement", 1, 1, Result.available, Chain.kept, False, False, 200, -1,
                two, two, two, two, two + 18 * MS),
    ]  # fmt: skip
    assert kept.all_steps == [
        StepOutcome("a~1", "mobile", "get_engagement", 0, Outcome.available, one, one + 28 * MS, 1, True),
        StepOutcome("a~1", "mobile", "get_engagement", 1, Outcome.available, two, two + 18 * MS, 1, True),
    ]
    assert kept.all_visits == [VisitOutcome("a~1", "mobile", VisitEnd.completed, one, one, two + 18 * MS, 2)]
    assert kept.connections == {"opened": 1, "reused": 1}
    assert kept.seconds == [(0, 0), (1, 1), (2, 1), (3, 2)]
    assert end == RehearsalEnd(
        visits=1, arrivals_ns=S, ended_ns=two + 18 * MS, visits_open_max=1, visits_open_ns=0, in_flight_max=1,
        in_flight_ns=0, connections_max=1, connections_ns=0, visits_per_s_max=1, calls_per_s_max=1,
        connects_per_s_max=1, ports_max=1, new_sessions=1, new_sessions_per_min_max=1,
    )  # fmt: skip


@pytest.mark.parametrize(("mode", "opened"), [("browser", 6), ("pooled", 2), ("fresh", 18)])
def test_each_mode_opens_as_many_connections_as_the_engine(mode: str, opened: int) -> None:
    """6 visits of 3 steps, at most 2 at a time: one connection a visit, one a simultaneous call, one a call."""
    visits = [planned((n // 2) * 100 * MS, 0, 0.01, 0.01, name=f"v{n}") for n in range(6)]
    end, kept, _ = play(visits, connections=mode)
    assert (kept.connections["opened"], kept.connections.get("reused", 0)) == (opened, 18 - opened)
    assert (end.connections_max, end.ports_max) == (2, opened)


def test_a_connection_that_nobody_uses_for_five_minutes_is_closed() -> None:
    """A visitor that thinks for 400 s pays a second connect, and for 100 s of them there is no connection."""
    visits = [planned(0, 0, 400, name="a"), planned(1_000 * S, 0, name="b")]
    end, kept, _ = play(visits, rtt_ns=10 * MS)
    assert kept.connections == {"opened": 3}
    assert [a.connected_ns - a.started_ns for a in kept.all_attempts] == [10 * MS] * 3
    assert end.connections_ns == 300 * S + 2 * 28 * MS
    assert end.visits_open_ns == 400 * S + 2 * 28 * MS


def test_pooled_connections_are_closed_when_idle_for_five_minutes() -> None:
    """The one that was used last is used again, the other one dies of idleness at its own moment."""
    visits = [planned(0, 0, name="a"), planned(0, 0, name="b"), *(planned(n * 100 * S, 0) for n in range(1, 5))]
    end, kept, _ = play(visits, connections="pooled", plan_end_ns=400 * S)
    assert kept.connections == {"opened": 2, "reused": 4}
    assert end.connections_ns == (300 * S + 8 * MS) + 400 * S


@pytest.mark.parametrize(
    ("kind", "result", "done_ns", "message", "ports"),
    [("hang", Result.timeout, 5 * S, "timed out", 2), ("reset", Result.reset, 0, "Connection reset by peer", 1)],
)
def test_a_call_without_reply_ends_at_the_timeout_or_the_reset(
    kind: Any, result: Result, done_ns: int, message: str, ports: int
) -> None:
    """The attempt has a fault and its time; its connection is gone, so the next call opens another."""
    end, kept, _ = play(
        [planned(0, 0, 1)], Scenario(service=STEADY, faults=(Fault(kind=kind, ratio=1.0),)), timeout_ns=5 * S
    )
    first = kept.all_attempts[0]
    assert (first.result, first.sent_ns, first.done_ns, first.message) == (result, 0, done_ns, message)
    assert kept.all_attempts[1].started_ns == done_ns + S
    assert (kept.connections, end.ports_max) == ({"opened": 2}, ports)
    assert [step.outcome for step in kept.all_steps] == [Outcome.failed] * 2


def test_a_reply_that_comes_after_the_timeout_is_a_timeout() -> None:
    """Service takes 8 s, the client waits 5: the work was done for nothing, and the session is there."""
    slow = Scenario(service=Service(distribution="constant", mean_ns=Ns(8 * S)))
    _, kept, behaviour = play([planned(0, 0)], slow, timeout_ns=5 * S)
    assert [(a.result, a.done_ns) for a in kept.all_attempts] == [(Result.timeout, 5 * S)]
    assert behaviour.truth.to_obj()["sessions_issued"] == 1


def test_retry_after_is_waited_for() -> None:
    """A throttled attempt is tried again after the 7 s that the reply asked for."""
    throttled = Scenario(
        service=STEADY, retry_after_s=7, faults=(Fault(kind="throttled", ratio=1.0, lasts_ns=Ns(5 * S)),)
    )
    _, kept, _ = play([planned(0, 0)], throttled, retry=POLICIES["until-available"])
    assert [(a.result, a.planned_ns) for a in kept.all_attempts] == [(Result.throttled, 0), (Result.available, 7 * S)]


def test_what_the_drain_cuts_off_is_censored() -> None:
    """30 s after the last arrival: a visit in thought, one in flight, and nothing is open afterwards."""
    hangs = Scenario(service=STEADY, faults=(Fault(kind="hang", ratio=1.0, at_ns=Ns(9 * S)),))
    visits = [planned(0, 0, 100, name="a"), planned(10 * S, 0, name="b")]
    end, kept, _ = play(visits, hangs, drain_ns=30 * S, timeout_ns=60 * S)
    assert kept.all_visits == [
        VisitOutcome("a", "all", VisitEnd.censored, 0, 0, 40 * S, 2),
        VisitOutcome("b", "all", VisitEnd.censored, 10 * S, 10 * S, 40 * S, 1),
    ]
    assert (end.arrivals_ns, end.ended_ns) == (10 * S, 40 * S)


def test_arrivals_may_end_after_the_last_visit() -> None:
    """With `plan_end_ns` the drain begins there, and means are over the whole time."""
    end, kept, _ = play([planned(0, 0, 100)], plan_end_ns=90 * S)
    assert [visit.end for visit in kept.all_visits] == [VisitEnd.completed]
    assert (end.arrivals_ns, end.visits_open_ns, end.visits_open_mean) == (90 * S, 90 * S, 1.0)


@pytest.mark.parametrize(("plan_end_ns", "begun", "ended_ns"), [(None, 6, 3_024), (2_500, 6, 3_024), (1_500, 4, 2_016)])
def test_a_closed_loop_keeps_its_slots_full(plan_end_ns: int | None, begun: int, ended_ns: int) -> None:
    """2 slots, visits of 1.008 s: two at once, one after the other, until visits or time are used up."""
    visits = [planned(-1, 0, 0.992, name=f"v{n}") for n in range(6)]
    end_ns = None if plan_end_ns is None else plan_end_ns * MS
    end, kept, _ = play(visits, arrivals="closed:2", plan_end_ns=end_ns)
    assert [due // MS for due, _ in kept.started] == [0, 0, 1_008, 1_008, 2_016, 2_016][:begun]
    assert (end.visits_open_max, end.ended_ns // MS) == (2, ended_ns)


def test_new_sessions_are_the_calls_that_ask_for_one() -> None:
    """A returning visitor asks for one, too; a step of the chain and an update do not."""
    visits = [
        planned(0, 0, 1, 1, name="a", ops=["get_engagement", "get_engagement", "update"], visitor="p", returns=True),
        planned(30 * S, 0, name="b", visitor="p", first="return"),
        planned(90 * S, 0, name="c"),
    ]
    end, kept, behaviour = play(visits)
    assert (end.new_sessions, end.new_sessions_per_min_max) == (3, 2)
    assert [attempt.chain for attempt in kept.all_attempts][3:] == [Chain.kept, Chain.started]
    assert behaviour.truth.to_obj()["sessions_issued"] == 3


def test_the_service_forgets_whom_nobody_will_name_again() -> None:
    """What it keeps in the end is the visitor that is to return; a chain of returns is known as long as it lasts."""
    visits = [
        *(planned(n * S, 0, 1, name=f"v{n}") for n in range(3_000)),
        planned(3_000 * S, 0, name="back-1", visitor="p", returns=True),
        planned(4_000 * S, 0, name="back-2", visitor="p", first="return", returns=True),
    ]
    _, kept, behaviour = play(visits)
    account = behaviour.accounts["12345678"]
    assert (len(account.visitors), len(account.sessions)) == (1, 2)
    assert kept.all_attempts[-1].chain is Chain.kept
    assert len(account._forget) < 2_000


@pytest.mark.parametrize("cold", [Cold(), Cold(lasts_ns=Ns(3 * S))])
def test_forgetting_changes_no_answer(cold: Cold) -> None:
    """A cap that is never reached makes the service keep everybody: all records are the same."""
    visits = [
        planned(
            n * S // 5, 0, 0.7, 40, name=f"v{n}", visitor=f"p{n % 17}", returns=n < 180,
            first=("fresh", "return", "stale")[n % 3], ops=["get_engagement", "update", "get_engagement"],
        )
        for n in range(200)
    ]  # fmt: skip
    scenario = {
        "service": Service(),
        "availability": Availability(not_available_first=(0, 2), ratio=0.8),
        "faults": (Fault(kind="reset", ratio=0.05), Fault(kind="hang", ratio=0.02)),
        "cold": cold,
    }
    played = [
        play(visits, Scenario(sessions=Sessions(max_calls=3, per_account=cap), **scenario), retry=POLICIES[policy])
        for policy in ("until-available", "sdk-sample")
        for cap in (None, 1_000_000)
    ]
    for (end, forgetful, forgot), (same_end, keeping, kept) in (played[:2], played[2:]):
        assert end == same_end
        assert forgetful.all_attempts == keeping.all_attempts
        assert len(forgot.accounts["12345678"].visitors) < len(kept.accounts["12345678"].visitors)


def test_a_round_trip_longer_than_the_timeouts_is_refused() -> None:
    """Nothing would ever be answered: said at once instead of found out."""
    with pytest.raises(UsageError, match="shorten it"):
        play([planned(0, 0)], rtt_ns=S, timeout_ns=2 * S)
    with pytest.raises(UsageError, match="shorten it"):
        play([planned(0, 0)], rtt_ns=S, connect_timeout_ns=S)


def test_accounts_are_mapped_and_judged() -> None:
    """A visit's account is the profile's number for it; one that cannot stand in a request is refused."""
    _, _, behaviour = play([planned(0, 0, account="shop")], accounts={"shop": "777"})
    assert list(behaviour.accounts) == ["777"]
    with pytest.raises(UsageError, match="account 'a b'"):
        play([planned(0, 0, account="shop")], accounts={"shop": "a b"})
