"""When requests are due, and the moments in the records."""

from __future__ import annotations

import pytest

from harness.visitor.records import Attempt, Chain, Outcome, Result, StepOutcome, VisitEnd, VisitOutcome
from harness.visitor.retry import POLICIES, RetryPolicy, jitter_draw
from tests.unit.visitor.play import GE, MS, UPDATE, Player, S, World, engagement, failure


def dues(policy: str | RetryPolicy, answer: str, *, took_ns: int = 10 * MS, retry_after_ns: int = 0) -> list[int]:
    """Pauses in ns between each reply and the next attempt of one step that is always answered the same."""
    player = World(POLICIES[policy] if isinstance(policy, str) else policy).visit(GE)
    pauses: list[int] = []
    while True:
        player.ask(answer, took_ns=took_ns, retry_after_ns=retry_after_ns)
        if player.session.state == "over":
            return pauses
        pauses.append(player.session.due_ns - player.now_ns)


def test_think_runs_from_the_settlement() -> None:
    """The first step is due its think time after the arrival, each further one after the step before was settled."""
    player = World().visit({**GE, "think": 1}, {**GE, "think": 0.25}, GE, at_ns=S)
    due = []
    for _ in range(3):
        player.ask("available")
        due.append(player.attempt.planned_ns)
    assert due == [2 * S, 2 * S + 260 * MS, 2 * S + 270 * MS]


def test_think_is_warped_and_capped() -> None:
    """Think times are divided by the speed, then capped."""
    world = World(max_think_ns=2 * S, think_speed=4.0)
    player = world.visit({**GE, "think": 4}, {**GE, "think": 100}, at_ns=0)
    player.ask("available")
    player.ask("available")
    assert [a.planned_ns for a in player.sink.attempts] == [S, S + 10 * MS + 2 * S]


def test_retries_are_not_warped() -> None:
    """Speed changes think times, never the service's backoff."""
    world = World(POLICIES["rest-guide"], think_speed=10.0, max_think_ns=1)
    player = world.visit(GE)
    player.ask("server_error")
    assert player.session.due_ns == 10 * MS + 5 * S


def test_late_sending_keeps_the_plan() -> None:
    """A request that goes out late keeps the moment it was due at, and the visit its real beginning."""
    player = World().visit(GE, at_ns=S)
    player.now_ns = 3 * S
    player.send()
    assert (player.session.planned_ns, player.session.started_ns) == (S, 3 * S)


def test_records_hold_every_moment() -> None:
    """The three records of a visit hold exactly the moments that were handed in."""
    player = World(POLICIES["until-available"]).visit(GE, at_ns=100)
    player.session.next_action(150)
    player.session.fault(Result.connect_error, 160, -1, -1, 170, "refused")
    due_ns = player.session.due_ns
    player.now_ns = due_ns
    player.send()
    player.now_ns += 20
    player.answer((200, engagement("Available")), took_ns=30)
    done_ns = due_ns + 50
    begun_ns = due_ns + 20
    assert player.sink.attempts == [
        Attempt("v1", "c", "get_engagement", 0, 1, Result.connect_error, Chain.none, False, False, 0, -1,
                100, 160, -1, -1, 170, "refused"),
        Attempt("v1", "c", "get_engagement", 0, 2, Result.available, Chain.started, False, False, 200, -1,
                due_ns, begun_ns, begun_ns, begun_ns, done_ns, ""),
    ]  # fmt: skip
    assert player.sink.steps == [StepOutcome("v1", "c", "get_engagement", 0, Outcome.available, 100, done_ns, 2, False)]
    assert player.sink.visits == [VisitOutcome("v1", "c", VisitEnd.completed, 100, 150, done_ns, 1)]


def test_error_records_hold_status_code_and_message() -> None:
    """An error reply's record holds its HTTP status, internalCode and redacted message; without a code, -1."""
    player = World().visit(GE, GE)
    player.ask((400, failure(5, "consumerId")))
    player.ask("throttled")
    assert [(a.http_status, a.code, a.message) for a in player.sink.attempts] == [(400, 5, "consumerId"), (429, -1, "")]


# Retry timing (interfaces section 6)


@pytest.mark.parametrize("answer", ["not_available", "loading", "server_error", "timeout", "connect_error", "reset"])
def test_until_available(answer: str) -> None:
    """100 ms × 1.5 up to 5 s, each ± 20 % by the draw of (seed, visit, step, attempt), until 60 s after first due."""
    pauses = dues("until-available", answer)
    bases_ms = [min(100 * 1.5**n, 5000) for n in range(len(pauses))]
    assert pauses == [int(base * MS * (1 + 0.2 * jitter_draw(7, "v1", 0, n + 1))) for n, base in enumerate(bases_ms)]
    assert all(0.8 * base <= pause / MS <= 1.2 * base for pause, base in zip(pauses, bases_ms, strict=True))
    last_due_ns = sum(pauses) + 10 * MS * len(pauses)
    assert last_due_ns <= 60 * S < last_due_ns + 10 * MS + 6 * S


def test_until_available_is_bounded_to_the_nanosecond() -> None:
    """A retry due exactly 60 s after the step was first due is sent; one due 1 ns later is not."""
    policy = RetryPolicy(name="x", retry_on=frozenset({"loading"}), first_ms=1000, budget_s=60)
    assert dues(policy, "loading", took_ns=59 * S) == [S]
    assert dues(policy, "loading", took_ns=59 * S + 1) == []


def test_budget_runs_from_the_steps_first_due_moment() -> None:
    """Each step has its own 60 s, counted from when it was due, not from when it was sent."""
    player = World(POLICIES["until-available"]).visit(GE, {**GE, "think": 100})
    player.ask("available")
    player.now_ns = player.session.due_ns + 59 * S + 950 * MS
    player.ask("loading", took_ns=0)
    assert player.outcomes == ["available", "exhausted"]


def test_exhausted_at_the_last_reply() -> None:
    """A step is exhausted at the moment of the reply whose retry would come too late, not 60 s after its start."""
    player = World(POLICIES["until-available"]).visit(GE, {**GE, "think": 1})
    player.ask("timeout", took_ns=61 * S)
    assert (player.sink.steps[0].outcome, player.sink.steps[0].settled_ns) == (Outcome.exhausted, 61 * S)
    assert player.session.due_ns == 62 * S


@pytest.mark.parametrize(
    ("retry_after_s", "least_s", "most_s"), [(0, 1, 1), (0.2, 1, 1), (7, 7, 7)], ids=["none", "short", "long"]
)
def test_throttled_until_available(retry_after_s: float, least_s: float, most_s: float) -> None:
    """After a 429 the pause is at least 1 s and at least Retry-After."""
    pauses = dues("until-available", "throttled", retry_after_ns=int(retry_after_s * S))
    assert pauses[0] == least_s * S
    assert all(pause >= most_s * S for pause in pauses)


def test_retry_after_of_a_server_error() -> None:
    """A 503 may ask for a longer pause, never for a shorter one; a loading account may not."""
    assert dues("rest-guide", "server_error", retry_after_ns=8 * S) == [8 * S, 10 * S, 15 * S]
    assert dues("rest-guide", "loading", retry_after_ns=8 * S) == [5 * S, 10 * S, 15 * S]


@pytest.mark.parametrize("answer", ["loading", "server_error", "throttled"])
def test_rest_guide(answer: str) -> None:
    """5, 10 and 15 s, then no more."""
    assert dues("rest-guide", answer) == [5 * S, 10 * S, 15 * S]


@pytest.mark.parametrize("answer", ["loading", "throttled", "rejected", "client_error", "server_error", "timeout"])
def test_sdk_sample(answer: str) -> None:
    """100 ms after every reply, 25 times, without growth, jitter, or heed of Retry-After."""
    assert dues("sdk-sample", answer, retry_after_ns=30 * S) == [100 * MS] * 25


def test_sdk_sample_budget_is_the_visits() -> None:
    """The 25 retries are shared by all steps of a visit; steps after that get one attempt each."""
    player = World(POLICIES["sdk-sample"]).visit(GE, GE, UPDATE, GE)
    for answer in ["loading"] * 10 + ["available"] + ["client_error"] * 15 + ["available"] + ["loading"] * 2:
        player.ask(answer)
    assert [(r.outcome.name, r.attempts) for r in player.sink.steps] == [
        ("available", 11),
        ("available", 16),
        ("exhausted", 1),
        ("exhausted", 1),
    ]


def test_retries_a_step_begin_anew() -> None:
    """Where the budget is per step, each step has all of it, and its pauses begin with the first."""
    player = World(POLICIES["rest-guide"]).visit(GE, GE)
    for _ in range(2):
        pauses = []
        for _ in range(3):
            player.ask("loading")
            pauses.append(player.session.due_ns - player.now_ns)
        player.ask("loading")
        assert pauses == [5 * S, 10 * S, 15 * S]
    assert player.outcomes == ["exhausted", "exhausted"]


def test_none_never_tries_again() -> None:
    """Under `none` every visit makes one attempt a step."""
    for answer in ("loading", "throttled", "timeout", "not_available"):
        assert dues("none", answer) == []


def test_player_times_are_the_sessions() -> None:
    """A retry's planned moment is the reply before it plus the pause: response times hold no backoff."""
    player: Player = World(POLICIES["sdk-sample"]).visit(GE)
    player.ask("loading", took_ns=30 * MS)
    player.ask("available")
    assert player.attempt.planned_ns == 130 * MS
