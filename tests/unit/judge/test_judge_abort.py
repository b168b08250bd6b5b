"""The abort conditions of [limits]: over the last ten seconds, from the first one on, with enough to go by."""

from __future__ import annotations

from harness.judge.abort import WINDOW_S, AbortGuard
from harness.judge.threshold import parse_thresholds
from harness.measure.snapshot import Snapshot


def guard(*conditions: str) -> AbortGuard:
    """A guard with these conditions."""
    return AbortGuard(parse_thresholds(conditions))


def attempts(**results: int) -> Snapshot:
    """What a worker measured: so many attempts of each result."""
    return Snapshot(counters={("attempts", "get_engagement", "all", name): n for name, n in results.items()})


def test_without_conditions_nothing_is_kept() -> None:
    """No condition, no answer, no memory."""
    made = guard()
    assert made.add(0, attempts(server_error=1_000)) is None
    assert made._seconds == {}


def test_a_condition_fails_as_soon_as_the_window_says_so() -> None:
    """Errors of all workers count together, each slice as it comes, in any order."""
    made = guard("ratio(server_error) < 50%", "ratio(throttled) < 10%")
    assert made.add(0, attempts(available=100)) is None
    assert made.add(1, attempts(available=60, server_error=70)) is None
    assert made.add(0, attempts(available=10)) is None
    line = made.add(1, attempts(server_error=100))
    assert line == "abort_on ratio(server_error) < 50%: 50 % in the last 2 s"


def test_a_good_hour_does_not_hide_a_bad_minute() -> None:
    """What is older than the window is forgotten, good or bad."""
    made = guard("ratio(throttled) < 20%")
    for second in range(3_600):
        assert made.add(second, attempts(available=100)) is None
    answers = [made.add(second, attempts(throttled=100)) for second in range(3_600, 3_600 + WINDOW_S)]
    # Two seconds of ten are a fifth.
    assert [answer is not None for answer in answers[:3]] == [False, True, True]
    assert len(made._seconds) == WINDOW_S
    assert made.add(9_999, attempts(available=10)) is None


def test_too_little_is_no_reason_to_abort() -> None:
    """One error of one attempt says nothing against `< 1%`; a hundred attempts with it, or five errors, do."""
    assert guard("ratio(server_error) < 1%").add(0, attempts(server_error=1)) is None
    assert guard("ratio(server_error) < 1%").add(0, attempts(server_error=1, available=99)) is not None
    assert guard("ratio(server_error) < 1%").add(0, attempts(server_error=5)) is not None
    assert guard("p99(response_time) < 1s").add(0, attempts(available=3)) is None
