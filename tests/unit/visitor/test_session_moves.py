"""The transition table: every listed move can be made, every other one raises and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from harness.visitor.records import Result
from harness.visitor.retry import POLICIES
from harness.visitor.session import FLYING, NEW, OVER, TRANSITIONS, WAITING, IllegalMoveError, VisitorSession
from harness.visitor.table import EVENTS, STATES
from tests.unit.visitor.play import GE, UPDATE, Player, World

STATE_NAMES = (NEW, WAITING, FLYING, OVER)


def in_state(state: str, *steps: dict[str, Any]) -> Player:
    """A fresh visit brought into a state; its current step is the first of `steps`."""
    before = (GE,) if state in (WAITING, FLYING) else ()
    player = World(POLICIES["until-available"]).visit(*before, *steps)
    if before:
        # An update flies only after an Available reply, and is skipped only without one.
        player.ask("available" if state == FLYING else "client_error")
    if state == FLYING:
        player.send()
    if state == OVER:
        player.session.cut(0)
    assert player.session.state == state
    return player


def settle(player: Player) -> None:
    player.answer("available")


def retry(player: Player) -> None:
    player.answer(Result.timeout)


def go_on(player: Player) -> None:
    player.session.next_action(player.session.due_ns)


def cut(player: Player) -> None:
    player.session.cut(player.now_ns)


def drop(player: Player) -> None:
    player.session.drop(player.now_ns)


# For each event: what the engine does to cause it, and the steps left in the visit when it does.
CAUSES: dict[str, tuple[Callable[[Player], None], tuple[dict[str, Any], ...]]] = {
    "send": (go_on, (GE,)),
    "retry": (retry, (GE,)),
    "settle": (settle, (GE, GE)),
    "settle_last": (settle, (GE,)),
    "skip": (go_on, (UPDATE, {**GE, "think": 1})),
    "skip_last": (go_on, (UPDATE,)),
    "cut": (cut, (GE,)),
    "drop": (drop, (GE,)),
}


# The states by the events that may happen in them; everything else is a mistake of ours.
LEGAL = {
    NEW: {"send", "skip", "skip_last", "cut", "drop"},
    WAITING: {"send", "skip", "skip_last", "cut"},
    FLYING: {"retry", "settle", "settle_last", "cut"},
    OVER: set(),
}


def everything(player: Player) -> dict[str, Any]:
    """All that a move could change: the session's own fields, its records and the shared identities."""
    session = player.session
    fields = {name: getattr(session, name) for name in VisitorSession.__slots__ if name not in ("_rules", "calls")}
    identities = {name: getattr(player.session._rules.identities, name) for name in ("_holders", "_remembered")}
    records = {name: getattr(player.sink, name) for name in ("attempts", "steps", "visits")}
    return deepcopy(fields | identities | records)


def test_words_of_the_table() -> None:
    """The table moves between the four states by the eight events, each where it may; the docs tell of each."""
    assert {state: {event for old, event in TRANSITIONS if old == state} for state in STATE_NAMES} == LEGAL
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(STATE_NAMES) == set(STATES)
    assert {event for _, event in TRANSITIONS} == set(CAUSES) == set(EVENTS)


@pytest.mark.parametrize(("state", "event"), TRANSITIONS)
def test_listed_move(state: str, event: str) -> None:
    """A listed move is made by the public methods alone and leads where the table says."""
    cause, steps = CAUSES[event]
    player = in_state(state, *steps)
    cause(player)
    assert player.session.state == TRANSITIONS[state, event]


UNLISTED = [(state, event) for state in STATE_NAMES for event in CAUSES if (state, event) not in TRANSITIONS]


@pytest.mark.parametrize(("state", "event"), UNLISTED)
def test_unlisted_move(state: str, event: str) -> None:
    """An unlisted move raises and changes nothing; only asking a visit that is over is answered, with None."""
    cause, steps = CAUSES[event]
    player = in_state(state, *steps)
    before = everything(player)
    if state == OVER and cause is go_on:
        assert player.session.next_action(player.session.due_ns) is None
    else:
        with pytest.raises(IllegalMoveError, match="visit v1"):
            cause(player)
    assert everything(player) == before


def test_asking_early_changes_nothing() -> None:
    """Asked before the next request is due, a visit names the moment and does not begin."""
    player = World().visit(at_ns=100)
    before = everything(player)
    assert player.session.next_action(99) == 100
    assert everything(player) == before
    assert isinstance(player.session.next_action(100), bytes)
