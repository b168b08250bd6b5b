"""The same replies give the same requests, byte for byte, whatever else the worker plays."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.visitor.records import Result
from harness.visitor.retry import POLICIES
from tests.unit.visitor.play import ANSWERS, MS, World, engagement, step

# What the service says is a function of visit and attempt: two vids are enough to have visits cross each other.
REPLIES: list[tuple[int, bytes] | Result] = [
    *(ANSWERS[name] for name in sorted(ANSWERS)),
    *((200, engagement(status, vid, sid)) for status in ("Available", "NotAvailable") for vid in "AB" for sid in "12"),
]
STEPS = st.builds(
    step,
    st.sampled_from(["get_engagement", "get_engagement", "update"]),
    st.sampled_from(["chain", "chain", "fresh", "return", "stale"]),
    st.sampled_from([0, 0.5]),
)
VISITS = st.lists(
    st.tuples(st.lists(STEPS, min_size=1, max_size=4), st.lists(st.sampled_from(REPLIES), max_size=12)),
    min_size=1,
    max_size=4,
)


def play(policy: str, visits: list[tuple[Any, Any]], turns: list[int]) -> list[list[bytes]]:
    """The bytes that each visit sent; `turns` says whose turn it is, and the rest is played one after the other."""
    world = World(POLICIES[policy])
    players = [
        world.visit(*steps, visit=f"v{n}", visitor=f"u{n}", returns=n % 2 == 0) for n, (steps, _) in enumerate(visits)
    ]
    scripts = [iter(answers) for _, answers in visits]
    sent: list[list[bytes]] = [[] for _ in visits]

    def turn(number: int) -> bool:
        player = players[number]
        session = player.session
        if session.state == "over":
            return False
        action = session.next_action(player.now_ns)
        if isinstance(action, int):
            player.now_ns = action
        elif isinstance(action, bytes):
            sent[number].append(action)
            answer = next(scripts[number], None)
            if answer is None:
                session.cut(player.now_ns)
            else:
                player.answer(answer, took_ns=7 * MS)
        return True

    for number in turns:
        turn(number % len(visits))
    for number in range(len(visits)):
        while turn(number):
            pass
    return sent


@given(st.sampled_from(sorted(POLICIES)), VISITS, st.lists(st.integers(0, 3), max_size=80))
def test_interleaving_changes_no_byte(policy: str, visits: list[tuple[Any, Any]], turns: list[int]) -> None:
    """Visits of different visitors send the same bytes interleaved at random, in a row, or alone in a worker."""
    interleaved = play(policy, visits, turns)
    assert interleaved == play(policy, visits, [])
    for number, sent in enumerate(interleaved):
        # Alone: the same place in the list, as the names hang on it, but nobody else has anything to say.
        others_silent = [visit if n == number else ([step("update")], []) for n, visit in enumerate(visits)]
        assert play(policy, others_silent, turns)[number] == sent


@given(st.sampled_from(sorted(POLICIES)), VISITS)
def test_same_seed_same_records(policy: str, visits: list[tuple[Any, Any]]) -> None:
    """Played twice, a visit sends the same bytes, and they differ between visits in ids and attempt at most."""
    first, second = play(policy, visits, []), play(policy, visits, [])
    assert first == second
    attempts = [
        next(line for line in raw.decode().split("\r\n") if line.startswith("X-Harness-Attempt: "))
        for sent in first
        for raw in sent
    ]
    assert len(set(attempts)) == len(attempts)
    assert all(json.loads(raw.partition(b"\r\n\r\n")[2]) for sent in first for raw in sent)
