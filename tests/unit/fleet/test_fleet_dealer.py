"""The dealer: who gets which visit when, and what the books say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from harness.fleet.dealer import HORIZON_NS, MAX_LEASE_VISITS, MAX_UNACKED, REDEAL_AFTER_NS, RESEND_NS, Dealer
from harness.fleet.messages import TICKET_BITS, Lease
from harness.measure.ledger import Ledger
from harness.plan.schedule import PlannedVisit
from harness.units import NS_PER_S
from tests.unit.fleet.scripted_fleet import evenly, visit


def dealer_of(visits: Iterable[PlannedVisit], *members: str, closed: bool = False, slots: int | None = None) -> Dealer:
    """A dealer with these incarnations, each its own worker in the books."""
    dealer = Dealer(iter(visits), Ledger(), closed=closed)
    for member in members:
        dealer.join(member, f"worker-{member}", slots)
    return dealer


def names(leases: Iterable[tuple[str, Lease]], incarnation: str | None = None) -> list[str]:
    """The visits of leases, by line, in order."""
    return [
        line.split(b'"')[3].decode() + suffix
        for to, lease in leases
        if incarnation in (None, to)
        for line, suffix in zip(lease.lines.split(b"\n"), lease.suffixes, strict=True)
    ]


def ends(**tickets: list[int]) -> dict[str, list[int]]:
    """Visit ends of a slice."""
    return {"completed": [], "censored": [], "dropped": []} | tickets


def ticket(lease: int, place: int) -> int:
    """The ticket of the visit at this place of a lease."""
    return lease << TICKET_BITS | place


def visits_of(dealer: Dealer) -> dict[str, int]:
    """The books of visits."""
    return dealer._ledger.totals()["visits"]


def test_leases_bring_the_visits_of_the_horizon_in_due_order() -> None:
    """What is due within the horizon is dealt, in order, as raw lines; the rest stays unread."""
    plan = evenly(100, 10)
    dealer = dealer_of(plan, "a")
    first = dealer.deal(0)
    assert [lease.number for _, lease in first] == [1]
    assert names(first) == [f"v-{n}" for n in range(51)]
    assert first[0][1].dues_ns == [planned.due_ns for planned in plan[:51]]
    assert first[0][1].lines.split(b"\n") == [planned.line for planned in plan[:51]]
    assert names(dealer.deal(NS_PER_S // 2)) == [f"v-{n}" for n in range(51, 56)]
    # One visit more than was dealt has been looked at.
    assert visits_of(dealer) == {
        "planned": 57, "completed": 0, "censored": 0, "dropped": 0, "lost": 0, "undealt": 1,
    }  # fmt: skip


def test_a_full_window_of_unacknowledged_leases_stops_dealing_until_one_is_acknowledged() -> None:
    """At most MAX_UNACKED leases are on their way to a worker; an acknowledgement makes room for one."""
    dealer = dealer_of(evenly(1000, 10), "a")
    sent = [lease for n in range(8) for _, lease in dealer.deal(n * RESEND_NS // 10)]
    assert [lease.number for lease in sent] == list(range(1, MAX_UNACKED + 1))
    dealer.acked("a", 2)
    (again,) = dealer.deal(9 * RESEND_NS // 10)
    assert again[1].number == MAX_UNACKED + 1
    assert again[1].dues_ns == sorted(again[1].dues_ns)


def test_a_lease_that_is_not_acknowledged_is_sent_again_unchanged() -> None:
    """Exactly the same lease goes out again after RESEND_NS, again and again, until it is acknowledged."""
    dealer = dealer_of(evenly(5, 10), "a")
    ((_, lease),) = dealer.deal(0)
    assert dealer.deal(RESEND_NS - 1) == []
    assert dealer.deal(RESEND_NS) == [("a", lease)]
    assert dealer.deal(RESEND_NS + 1) == []
    assert dealer.deal(2 * RESEND_NS) == [("a", lease)]
    dealer.acked("a", lease.number)
    dealer.acked("a", lease.number)
    assert dealer.deal(10 * RESEND_NS) == []
    assert dealer.exhausted


def test_a_lease_is_bounded_in_visits() -> None:
    """A burst is cut into leases of at most MAX_LEASE_VISITS visits, none left out or doubled."""
    dealer = dealer_of([visit(n, 0) for n in range(2 * MAX_LEASE_VISITS + 5)], "a")
    leases = dealer.deal(0)
    assert [len(lease.dues_ns) for _, lease in leases] == [MAX_LEASE_VISITS, MAX_LEASE_VISITS, 5]
    assert names(leases) == [f"v-{n}" for n in range(2 * MAX_LEASE_VISITS + 5)]


@pytest.mark.parametrize("members", [2, 3, 4, 5])
def test_visitors_are_shared_out_evenly(members: int) -> None:
    """Among 2 to 5 workers each gets its share of 8,000 visitors to within a tenth."""
    incarnations = [f"host-{n}-1" for n in range(members)]
    dealer = dealer_of([visit(n, 0) for n in range(8_000)], *incarnations)
    shares = Counter(to for to, lease in dealer.deal(0) for _ in lease.dues_ns)
    assert set(shares) == set(incarnations)
    assert all(abs(share - 8_000 / members) < 800 / members for share in shares.values()), shares


def test_all_visits_of_a_visitor_go_to_one_worker_and_its_clones_are_others() -> None:
    """The same visitor with the same suffix always meets the same worker; another suffix is another visitor."""
    plan = [
        visit(n, n / 100, visitor=f"p-{n % 20}", suffix=suffix) for n in range(200) for suffix in ("", "~1", "~1@1")
    ]
    dealer = dealer_of(plan, "a", "b", "c")
    owners: dict[tuple[str, str], set[str]] = {}
    by_line = {(planned.line, planned.suffix): planned.visitor for planned in plan}
    for to, lease in dealer.deal(0):
        for line, suffix in zip(lease.lines.split(b"\n"), lease.suffixes, strict=True):
            owners.setdefault((by_line[line, suffix], suffix), set()).add(to)
    assert len(owners) == 60
    assert all(len(workers) == 1 for workers in owners.values())
    assert len({frozenset(owners[f"p-{n}", ""] | owners[f"p-{n}", "~1"]) for n in range(20)}) > 3


def test_the_loss_of_a_worker_moves_only_its_own_visitors() -> None:
    """Visitors of the remaining workers stay where they are."""

    def owners(dealer: Dealer, due_s: float) -> dict[str, str]:
        return {name: to for to, lease in dealer.deal(round(due_s * NS_PER_S)) for name in names([(to, lease)])}

    plan = [visit(n, 0, visitor=f"p-{n}") for n in range(300)]
    later = [visit(n, 20, visitor=f"p-{n}") for n in range(300)]
    dealer = dealer_of([*plan, *later], "a", "b", "c")
    before = owners(dealer, 0)
    dealer.lose("b", 0)
    after = owners(dealer, 18)
    assert {name for name in before if before[name] != after[name]} == {n for n in before if before[n] == "b"}


def test_what_a_lost_worker_cannot_have_begun_is_dealt_again_and_the_rest_is_lost_by_name() -> None:
    """Due later than REDEAL_AFTER_NS after the master's last word: dealt again, in order; earlier: lost."""
    dealer = dealer_of(evenly(51, 10), "a")
    dealer.deal(0)
    dealer.settled("a", ends(completed=[ticket(1, 0)]), {"available": 2})
    loss = dealer.lose("a", 4 * NS_PER_S - REDEAL_AFTER_NS)
    assert loss.lost == [f"v-{n}" for n in range(1, 41)]
    assert loss.again == [f"v-{n}" for n in range(41, 51)]
    dealer.join("b", "worker-b")
    leases = dealer.deal(NS_PER_S)
    assert names(leases, "b") == loss.again
    dealer.settled("b", ends(completed=[ticket(1, n) for n in range(10)]), {"available": 20})
    assert dealer._ledger.problems() == []
    assert visits_of(dealer) == {
        "planned": 51, "completed": 11, "censored": 0, "dropped": 0, "lost": 40, "undealt": 0,
    }  # fmt: skip
    assert dealer._ledger.workers()["worker-a"] == {
        "dealt": 51, "completed": 1, "censored": 0, "dropped": 0, "lost": 40, "revoked": 10,
    }  # fmt: skip


def test_visits_of_two_lost_workers_are_dealt_again_in_due_order() -> None:
    """However many workers are lost, a lease lists its visits in order of their due time."""
    dealer = dealer_of(evenly(200, 40), "a", "b", "c")
    dealer.deal(0)
    dealer.lose("a", -3 * NS_PER_S)
    dealer.lose("b", -4 * NS_PER_S)
    for _, lease in dealer.deal(NS_PER_S // 10):
        assert lease.dues_ns == sorted(lease.dues_ns)


def test_what_waits_for_a_full_window_is_not_lost_with_the_worker() -> None:
    """Visits assigned to a lost worker and not yet leased were never dealt: others get them."""
    dealer = dealer_of(evenly(400, 10), "a")
    leased = [name for n in range(5) for name in names(dealer.deal(n * RESEND_NS // 5))]
    dealer.deal(9 * RESEND_NS // 10)
    loss = dealer.lose("a", 100 * NS_PER_S)
    assert loss == (leased, [])
    dealer.join("b", "worker-b")
    assert names(dealer.deal(RESEND_NS))[0] == f"v-{len(leased)}"


def test_a_worker_without_a_lease_is_lost_without_a_trace() -> None:
    """An incarnation that was dealt nothing has no row in the books."""
    dealer = dealer_of([], "a")
    assert dealer.lose("a", 0) == ([], [])
    assert dealer._ledger.workers() == {}


def test_revoked_visits_are_undealt_again() -> None:
    """What a worker gives back unbegun is named, closed in its account and counted as undealt."""
    dealer = dealer_of(evenly(10, 10), "a")
    dealer.deal(0)
    assert dealer.revoked("a", [ticket(1, 8), ticket(1, 9)]) == ["v-8", "v-9"]
    assert dealer.open == 8
    assert visits_of(dealer)["undealt"] == 2


def test_what_comes_back_too_late_for_anybody_stays_undealt_by_name() -> None:
    """A visit is kept for dealing as long as somebody would still begin it; what comes back later is told by name."""
    for max_lag_s, again in ((1, ["v-9"]), (8, ["v-2", "v-9"])):
        dealer = Dealer(iter(evenly(10, 1)), Ledger(), max_lag_ns=max_lag_s * NS_PER_S)
        for member in ("a", "b"):
            dealer.join(member, f"worker-{member}")
        for now_s in range(5):
            for to, lease in dealer.deal(now_s * NS_PER_S):
                dealer.acked(to, lease.number)
        tickets = {visit.name: (to, at) for to in "ab" for at, visit in dealer._hands[to].open.items()}
        assert tickets.keys() == {f"v-{n}" for n in range(10)}
        for member in ("a", "b"):
            dealer.spoke(member, 11 * NS_PER_S)
        back = [dealer.revoked(tickets[name][0], [tickets[name][1]]) for name in ("v-2", "v-9")]
        assert back == [["v-2"], ["v-9"]]
        assert dealer.take_stale() == [name for name in ("v-2", "v-9") if name not in again]
        assert dealer.take_stale() == []
        assert names(dealer.deal(9 * NS_PER_S)) == again
        assert visits_of(dealer)["undealt"] == 2 - len(again)


def test_an_ended_incarnation_gives_back_what_never_reached_it() -> None:
    """After its last slice, what is still open there was on its way: given back by name, and not sent again."""
    dealer = dealer_of(evenly(10, 10), "a")
    dealer.deal(0)
    dealer.settled("a", ends(completed=[ticket(1, 0)], dropped=[ticket(1, 1)]), {"available": 2, "dropped": 2})
    assert dealer.ended("a") == [f"v-{n}" for n in range(2, 10)]
    assert (dealer.open, dealer.deal(100 * NS_PER_S)) == (0, [])
    assert dealer._ledger.problems() == []


def test_stop_deals_nothing_more_and_the_rest_of_the_plan_is_counted() -> None:
    """After `stop` nothing is dealt or sent again; `read_rest` counts the whole plan as planned."""
    dealer = dealer_of(evenly(1000, 10), "a")
    leased = len(names(dealer.deal(0)))
    dealer.stop()
    assert dealer.deal(50 * NS_PER_S) == []
    assert dealer.exhausted
    dealer.read_rest()
    totals = visits_of(dealer)
    assert (totals["planned"], totals["undealt"], dealer.open) == (1000, 1000 - leased, leased)
    assert sum(dealer.planned_by_second.values()) == 1000
    assert dealer.last_due_ns == 99_900_000_000


def test_a_worker_lost_after_stop_has_nothing_dealt_again() -> None:
    """Once dealing has stopped, what a lost worker cannot have begun stays undealt."""
    dealer = dealer_of(evenly(60, 10), "a", "b")
    dealer.deal(0)
    dealer.stop()
    again = dealer.lose("a", -REDEAL_AFTER_NS).again
    assert again
    assert dealer.deal(NS_PER_S) == []
    assert visits_of(dealer)["undealt"] >= len(again)


def test_closed_credits_cover_twice_the_slots_and_follow_what_was_begun() -> None:
    """A closed loop keeps two visits a slot at the worker, refilled as visits begin, doubled when it runs dry."""
    dealer = dealer_of([visit(n, -1) for n in range(10_000)], "a", closed=True, slots=10)
    assert len(names(dealer.deal(0))) == 20
    assert dealer.deal(1) == []
    dealer.acked("a", 1)
    dealer.pulse("a", 6)
    assert len(names(dealer.deal(2))) == 6
    dealer.hungry("a", 26)
    assert len(names(dealer.deal(3))) == 40
    dealer.pulse("a", 3)
    assert dealer.deal(4) == []


def test_closed_visits_are_shared_one_by_one() -> None:
    """When the plan is shorter than the credits, workers get the same number of visits, not first come all."""
    dealer = dealer_of([visit(n, -1) for n in range(11)], "a", "b", "c", closed=True, slots=10)
    shares = Counter(to for to, lease in dealer.deal(0) for _ in lease.dues_ns)
    assert shares == {"a": 4, "b": 4, "c": 3}


def test_closed_visits_of_a_lost_worker_are_all_lost() -> None:
    """Without due times nobody can say what was begun: everything leased is lost by name."""
    dealer = dealer_of([visit(n, -1) for n in range(100)], "a", closed=True, slots=2)
    dealer.deal(0)
    assert dealer.lose("a", -100 * NS_PER_S).lost == ["v-0", "v-1", "v-2", "v-3"]


def test_a_dealer_without_workers_waits() -> None:
    """With nobody there nothing is taken from the plan; the first to join gets what is due by then."""
    dealer = dealer_of(evenly(100, 10))
    assert dealer.deal(3 * NS_PER_S) == []
    dealer.join("a", "worker-a")
    assert len(names(dealer.deal(3 * NS_PER_S))) == (3 * NS_PER_S + HORIZON_NS) // (NS_PER_S // 10) + 1
