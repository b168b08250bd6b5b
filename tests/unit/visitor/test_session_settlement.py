"""Every cell of the tables of results and outcomes, under each shipped policy."""

from __future__ import annotations

import pytest

from harness.visitor.records import Outcome, Result
from harness.visitor.retry import POLICIES
from harness.visitor.session import SETTLES
from tests.unit.visitor.play import ANSWERS, GE, MS, UPDATE, S, World, ends

# How each result settles a step (interfaces sections 3 and 6), written out by hand. The four columns are
# until-available, sdk-sample, rest-guide and none; `+` means tried again, and exhausted once the budget is spent.
SETTLED = """
    available      available     available     available     available
    not_available  +             not_available not_available not_available
    accepted       accepted      accepted      accepted      accepted
    loading        +             +             +             failed
    throttled      +             +             +             failed
    rejected       rejected      +             rejected      rejected
    client_error   failed        +             failed        failed
    server_error   +             +             +             failed
    redirect       failed        +             failed        failed
    timeout        +             +             failed        failed
    connect_error  +             +             failed        failed
    tls_error      failed        +             failed        failed
    reset          +             +             failed        failed
    bad_reply      failed        +             failed        failed
    internal_error failed        failed        failed        failed
"""
NAMES = ("until-available", "sdk-sample", "rest-guide", "none")
CELLS = [
    (policy, result, cell)
    for result, *cells in map(str.split, SETTLED.strip().splitlines())
    for policy, cell in zip(NAMES, cells, strict=True)
]


def test_table_covers_the_closed_sets() -> None:
    """The table above names every result and every shipped policy, and the code settles every result."""
    assert {result for _, result, _ in CELLS} == set(ANSWERS) == {result.name for result in Result}
    assert set(NAMES) == set(POLICIES)
    assert set(SETTLES) == set(Result)


@pytest.mark.parametrize(("policy", "result", "cell"), CELLS)
def test_result_settles_or_is_tried_again(policy: str, result: str, cell: str) -> None:
    """One attempt with this result leaves exactly the records and the state that the table says."""
    world = World(POLICIES[policy])
    updating = result == "accepted"
    player = world.visit(GE, UPDATE, GE) if updating else world.visit(GE, GE)
    if updating:
        player.ask("available")
    index = int(updating)
    assert player.ask(result).attempt == f"v1/{index}/1"
    assert player.attempt.result.name == result
    assert player.outcomes[index:] == ([] if cell == "+" else [cell])
    assert player.session.state == "waiting"
    assert player.send().attempt == (f"v1/{index}/2" if cell == "+" else f"v1/{index + 1}/1")


@pytest.mark.parametrize(("policy", "result"), [(policy, result) for policy, result, cell in CELLS if cell == "+"])
def test_spent_budget_is_exhausted(policy: str, result: str) -> None:
    """Answered the same again and again, a step that is tried again ends exhausted, with every attempt recorded."""
    player = World(POLICIES[policy]).visit(GE)
    while player.session.state != "over":
        player.ask(result)
    (settled,) = player.sink.steps
    attempts = len(player.sink.attempts)
    assert settled.outcome is Outcome.exhausted
    assert (settled.attempts, settled.first_available) == (attempts, False)
    assert [record.number for record in player.sink.attempts] == list(range(1, attempts + 1))
    if policy != "until-available":
        assert attempts == {"sdk-sample": 26, "rest-guide": 4}[policy]
    assert ends(player.sink) == [("v1", "completed")]


@pytest.mark.parametrize("last", ["rejected", "client_error", "bad_reply", "available"])
def test_last_attempt_decides(last: str) -> None:
    """After retries, the result that is not tried again settles the step, and only a first attempt counts as first."""
    player = World(POLICIES["until-available"]).visit(GE)
    for answer in ("loading", "not_available", "throttled", last):
        player.ask(answer)
    (settled,) = player.sink.steps
    assert settled.outcome is SETTLES[Result[last]]
    assert (settled.attempts, settled.first_available) == (4, False)


def test_available_at_once_is_first_available() -> None:
    """An available first attempt is marked; an accepted update is not."""
    player = World().visit(GE, UPDATE)
    player.ask("available")
    player.ask("accepted")
    assert [record.first_available for record in player.sink.steps] == [True, False]


def test_skipped_update() -> None:
    """An update without an Available reply sends nothing, is settled when due, and the visit goes on from there."""
    player = World().visit(GE, {**UPDATE, "think": 2}, {**GE, "think": 3})
    player.ask("not_available")
    request = player.send()
    skipped = player.sink.steps[1]
    assert (skipped.op, skipped.outcome, skipped.attempts) == ("update", Outcome.skipped, 0)
    assert skipped.planned_ns == skipped.settled_ns == 10 * MS + 2 * S
    assert (request.attempt, player.session.planned_ns) == ("v1/2/1", 10 * MS + 5 * S)


def test_visit_of_skipped_updates_alone() -> None:
    """A visit that has nothing to send begins, skips each step and is completed."""
    player = World().visit(UPDATE, UPDATE, at_ns=5)
    assert player.session.next_action(5) is None
    assert player.outcomes == ["skipped", "skipped"]
    (over,) = player.sink.visits
    assert (over.end.name, over.planned_ns, over.started_ns, over.ended_ns, over.steps) == ("completed", 5, 5, 5, 2)


def test_cut_before_the_first_request() -> None:
    """A visit that is cut before it began is censored, with no time of a beginning and no planned step."""
    player = World().visit(GE, GE, at_ns=S)
    player.session.cut(2 * S)
    assert [(r.outcome.name, r.planned_ns, r.settled_ns, r.attempts) for r in player.sink.steps] == [
        ("censored", -1, 2 * S, 0),
        ("censored", -1, 2 * S, 0),
    ]
    (over,) = player.sink.visits
    assert (over.end.name, over.planned_ns, over.started_ns, over.ended_ns) == ("censored", S, -1, 2 * S)


@pytest.mark.parametrize("flying", [True, False])
def test_cut_of_a_begun_step(flying: bool) -> None:
    """A step that was cut after requests keeps its first planned moment and its attempts; later steps have none."""
    player = World(POLICIES["until-available"]).visit(GE, GE, {**UPDATE, "think": 9})
    player.ask("available")
    player.ask("loading")
    if flying:
        player.send()
    player.session.cut(S)
    assert [(r.op, r.outcome.name, r.planned_ns, r.attempts) for r in player.sink.steps[1:]] == [
        ("get_engagement", "censored", 10 * MS, 1 + flying),
        ("update", "censored", -1, 0),
    ]
    assert len(player.sink.attempts) == 2
    assert ends(player.sink) == [("v1", "censored")]


def test_cut_while_thinking() -> None:
    """A step whose think time was still running never began, and settled steps stay settled."""
    player = World().visit(GE, {**GE, "think": 5})
    player.ask("available")
    player.session.cut(S)
    assert [(r.outcome.name, r.planned_ns, r.attempts) for r in player.sink.steps] == [
        ("available", 0, 1),
        ("censored", -1, 0),
    ]


def test_drop() -> None:
    """A visit that came up too late is dropped with all its steps; nothing was sent."""
    player = World().visit(GE, UPDATE, at_ns=S)
    player.session.drop(3 * S)
    assert [(r.op, r.outcome.name, r.planned_ns, r.settled_ns, r.attempts) for r in player.sink.steps] == [
        ("get_engagement", "dropped", -1, 3 * S, 0),
        ("update", "dropped", -1, 3 * S, 0),
    ]
    (over,) = player.sink.visits
    assert (over.end.name, over.started_ns, over.steps) == ("dropped", -1, 2)
    assert player.sink.attempts == []
