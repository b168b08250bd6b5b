"""The worker's outbox and the master's notes about a member."""

from __future__ import annotations

from itertools import permutations

import pytest

from harness.fleet.member import Member
from harness.fleet.messages import Hello, Pulse, SliceReport
from harness.fleet.outbox import RESEND_NS, Outbox
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_S


def report(number: int, second: int = 0, *, final: bool = False) -> SliceReport:
    """An empty slice."""
    return SliceReport("w-1", number, second, b"", [], [], [], [], final)


def member() -> Member:
    """A member that just said hello."""
    return Member(Hello("w-1", "host", 1, "1"), "worker-1", 0)


def test_slices_are_sent_at_once_and_again_until_acknowledged() -> None:
    """A slice is due when put in, then every RESEND_NS, oldest first, until its acknowledgement."""
    outbox = Outbox()
    assert outbox.empty
    first, second = report(outbox.next_number()), report(outbox.next_number())
    assert (first.number, second.number) == (1, 2)
    outbox.put(first)
    assert outbox.due(0) == [first]
    outbox.put(second)
    assert outbox.due(1) == [second]
    assert outbox.due(RESEND_NS - 1) == []
    assert outbox.due(RESEND_NS) == [first]
    assert outbox.due(RESEND_NS + 1) == [second]
    outbox.acked(1)
    outbox.acked(1)
    outbox.acked(7)
    assert outbox.due(3 * RESEND_NS) == [second]
    outbox.acked(2)
    assert outbox.empty


def test_a_member_is_final_when_all_slices_up_to_the_last_are_here_in_whatever_order() -> None:
    """For every order of arrival: the reported second is that of the gapless front, final comes with the last gap."""
    slices = [report(1, 3), report(2, 4), report(3, 6), report(4, 7, final=True)]
    for order in permutations(slices):
        someone = member()
        seen: set[int] = set()
        for each in order:
            assert not someone.final
            assert not someone.has(each.number)
            someone.note(each, Snapshot())
            seen.add(each.number)
            front = max((n for n in range(5) if set(range(1, n + 1)) <= seen), default=0)
            assert someone.reported_second == (slices[front - 1].second if front else -1)
            assert someone.missing_slices == max(seen) - len(seen)
            assert all(someone.has(n) == (n in seen) for n in range(1, 5))
        assert someone.final


def test_the_clock_offset_is_taken_from_the_pulse_that_returned_soonest() -> None:
    """The offset's error is bounded by half the round trip, so the shortest one counts, whenever it came."""
    someone = member()
    for sent_ns, worker_ns, back_ns in ((100, 1_200, 300), (500, 1_510, 520), (900, 2_400, 1_500)):
        someone.pulse(Pulse("w-1", sent_ns, worker_ns, "ready", 0, 0, 0), back_ns)
    assert someone.offset_ns == 1_000
    assert (someone.state, someone.pulses) == ("ready", 3)


def test_the_cpu_ratio_is_that_of_the_busiest_five_seconds() -> None:
    """Ratios of windows of five slices, or of what there is while there are fewer; None without any."""
    someone = member()
    assert someone.cpu_max_ratio is None
    ratios = []
    for number, busy in enumerate((0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1), start=1):
        someone.note(report(number, number), Snapshot(sums={"cpu_ns": round(busy * NS_PER_S)}))
        ratios.append(someone.cpu_max_ratio)
    assert ratios == pytest.approx([0.1, 0.1, 1.1 / 3, 0.5, 0.58, 0.74, 0.9, 0.9, 0.9])
    assert someone.cpu_ns == round(4.9 * NS_PER_S)
