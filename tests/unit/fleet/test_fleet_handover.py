"""Room that changes hands: what may still be in use somewhere is nobody else's."""

from __future__ import annotations

from harness.config.model import Limits
from harness.engine.ceilings import Share
from harness.fleet.handover import Handover, Part
from harness.units import NS_PER_S

RATES = Limits(max_visits_per_s=10, max_new_sessions_per_min=600)


def begun(handover: Handover, *capacities: float) -> list[Part]:
    """Parts of workers that began together, and have told that they play."""
    parts = [Part(capacity) for capacity in capacities]
    handover.begin(parts)
    for part in parts:
        part.told(0)
        part.heard(0, 0, 0)
    return parts


def test_those_who_begin_together_have_their_parts_at_once() -> None:
    """Before the start nobody has had anything, so nobody has to wait."""
    handover = Handover(None, Limits(max_open_visits=9))
    first, second = begun(handover, 2, 1)
    assert (first.share, second.share) == (Share(open_visits=6), Share(open_visits=3))
    assert handover.complete(first) and handover.complete(second)


def test_without_limits_a_newcomer_waits_for_nobody() -> None:
    """Where nothing is limited there is nothing to hand over."""
    handover = Handover(None, Limits())
    (first,) = begun(handover, 1)
    late = Part(1)
    handover.settle([first, late], 5)
    assert (first.share, late.share) == (Share(), Share())
    assert handover.complete(late)


def test_open_visits_change_hands_one_by_one_as_they_end() -> None:
    """The newcomer gets what the other has given back: nothing before it is known to have heard, then what is free."""
    handover = Handover(8, Limits())
    (first,) = begun(handover, 1)
    late = Part(1)
    seen = []
    for now_ns, echo_ns, open_visits in ((10, 0, 8), (20, 9, 3), (30, 20, 7), (40, 30, 5), (50, 40, 6), (60, 50, 2)):
        first.heard(echo_ns, open_visits, now_ns)
        handover.settle([first, late], now_ns)
        first.told(now_ns)
        assert first.share is not None and late.share is not None
        seen.append((first.share.slots, late.share.slots))
    # It is told at 10. What it says of an older beat counts for nothing, and what has ended once does not open again.
    assert seen == [(4, 0), (4, 0), (4, 1), (4, 3), (4, 3), (4, 4)]


def test_rates_change_hands_when_what_was_begun_no_longer_counts() -> None:
    """A second for visits and a minute for sessions, from when the other is known to keep to its smaller part."""
    handover = Handover(None, RATES)
    (first,) = begun(handover, 1)
    late = Part(1)
    handover.settle([first, late], 0)
    assert first.share == Share(visits_per_s=5, new_sessions_per_min=300)
    first.told(0)
    first.heard(0, 0, NS_PER_S)
    moments = {1_999_999_999: (0, 0), 2_000_000_000: (5, 0), 60_999_999_999: (5, 0), 61_000_000_000: (5, 300)}
    for now_ns, (visits_per_s, sessions) in moments.items():
        handover.settle([first, late], now_ns)
        assert late.share == Share(visits_per_s=visits_per_s, new_sessions_per_min=sessions), now_ns
        assert handover.complete(late) == (sessions > 0)


def test_who_is_gone_keeps_its_room_until_it_certainly_does_nothing() -> None:
    """Open visits until its fence has closed, rates until what it began before that no longer counts."""
    limits = Limits(max_open_visits=4, max_visits_per_s=10)
    handover = Handover(None, limits)
    first, second = begun(handover, 1, 1)
    handover.gone(second, 5 * NS_PER_S)
    seen = []
    for now_s in (4, 5, 6):
        handover.settle([first], now_s * NS_PER_S)
        seen.append(first.share)
    assert seen == [
        Share(open_visits=2, visits_per_s=5), Share(open_visits=4, visits_per_s=5),
        Share(open_visits=4, visits_per_s=10),
    ]  # fmt: skip


def test_a_second_change_before_the_first_has_settled_hands_out_nothing_twice() -> None:
    """While the first is still to hear of it, a third worker comes and the second goes: the whole is never exceeded."""
    handover = Handover(12, Limits())
    (first,) = begun(handover, 1)
    second, third = Part(1), Part(1)
    handover.settle([first, second], 10)
    handover.settle([first, second, third], 20)
    assert [part.share for part in (first, second, third)] == [Share(slots=4), Share(slots=0), Share(slots=0)]
    handover.settle([first, third], 30)
    assert [part.share for part in (first, third)] == [Share(slots=6), Share(slots=0)]
    first.told(30)
    first.heard(30, 9, 40)
    handover.settle([first, third], 40)
    assert [part.share for part in (first, third)] == [Share(slots=6), Share(slots=3)]


def test_fractions_of_a_rate_are_handed_over_whole() -> None:
    """A rate below the number of workers is divided into fractions: what rounding leaves keeps nobody waiting."""
    handover = Handover(None, Limits(max_visits_per_s=1.1))
    (first,) = begun(handover, 3)
    others = [Part(1) for _ in range(6)]
    for now_s in range(4):
        handover.settle([first, *others], now_s * NS_PER_S)
        first.told(now_s * NS_PER_S)
        first.heard(now_s * NS_PER_S, 0, now_s * NS_PER_S)
    assert all(handover.complete(part) for part in others)
    assert abs(sum(part.share.visits_per_s or 0 for part in (first, *others) if part.share) - 1.1) < 1e-9
