"""From page views to visits: order, gaps, returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import TraceError
from harness.trace.accesslog import PageView
from harness.trace.check import Validation
from harness.trace.intake.assemble import Totals, write_drafts
from harness.trace.lines import BadLines
from harness.trace.sessions import Session, cut_sessions, drafts, in_time
from harness.trace.useragent import Agent
from harness.units import NS_PER_S

DESKTOP, PHONE = Agent("desktop", "LINUX"), Agent("mobile", "IOS", "17.4")


def view(at_s: int, client: str = "a", agent: Agent = DESKTOP, ids: str = "", update: bool = False) -> PageView:
    return PageView(at_s * NS_PER_S, client, agent, ids, update)


def cut(*views: PageView, **bounds_s: int) -> list[tuple[str, list[int]]]:
    bounds = {name.replace("_s", "_ns"): value * NS_PER_S for name, value in bounds_s.items()}
    return [
        (session.visitor, [view_ns // NS_PER_S for view_ns in session.views_ns])
        for session in cut_sessions(views, **bounds)
    ]


def write(sessions: list[Session], path: Path) -> Totals:
    return write_drafts(
        drafts(sessions), path, source="access log", anonymized=True, nothing=lambda: "nothing was written"
    )


def test_views_in_any_order_are_ordered() -> None:
    """Views come out by time, equal times as they stood, however far from their place they were."""
    views = [view(100), view(160), view(41, "x"), view(100, "b"), view(220), view(100, "c")]
    expected = [view(41, "x"), view(100), view(100, "b"), view(100, "c"), view(160), view(220)]
    assert list(in_time(views)) == expected


def test_a_pause_above_the_gap_ends_a_session() -> None:
    """Views at most the gap apart are one session, a longer pause begins the next."""
    assert cut(view(0), view(1800), view(3601), view(3601)) == [("a", [0, 1800]), ("a", [3601, 3601])]
    assert cut(view(0), view(11), gap_s=10) == [("a", [0]), ("a", [11])]


def test_a_session_lasts_at_most_so_long() -> None:
    """A visitor that never pauses is cut where a monitor session would be gone."""
    assert cut(*[view(at_s) for at_s in range(0, 50, 10)], longest_s=20) == [("a", [0, 10, 20]), ("a", [30, 40])]


def test_sessions_come_in_order_of_their_start() -> None:
    """A short visit that ended first still comes after the long one that began before it."""
    assert cut(view(0), view(1, "b"), view(1500), view(3000), view(4000, "b")) == [
        ("a", [0, 1500, 3000]),
        ("b", [1]),
        ("b", [4000]),
    ]


def test_ended_sessions_do_not_wait_for_the_end() -> None:
    """Sessions are given out as soon as no earlier one is open, so memory does not grow with the log."""
    taken = 0

    def source() -> object:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield view(number * 2000, f"v{number}")

    first = next(cut_sessions(source()))  # type: ignore[arg-type]
    assert (first.visitor, taken) == ("v0", 2)


def test_visits_with_returns_and_think_times(tmp_path: Path) -> None:
    """The written trace: identities, think times, returns known from later on, request from the agent's classes."""
    path = tmp_path / "t.jsonl"
    found = [
        Session("0a", DESKTOP, [1000 * NS_PER_S, 1040 * NS_PER_S]),
        Session("0b", PHONE, [1001 * NS_PER_S]),
        Session("0a", DESKTOP, [9000 * NS_PER_S]),
    ]
    assert write(found, path) == Totals(3, 4, 1)
    desktop = {"appDetails": {"deviceFamily": "DESKTOP", "os": "LINUX"}, "appType": "EXTERNAL"}
    phone = {"appDetails": {"deviceFamily": "MOBILE", "os": "IOS", "osVersion": "17.4"}, "appType": "EXTERNAL"}

    def step(identity: str, think: int, request: object) -> dict[str, object]:
        return {"op": "get_engagement", "think": think, "identity": identity, "request": request}

    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "harness_trace": 1, "source": "access log", "created": "1970-01-01T00:16:40Z", "visits": 3,
            "span_s": 8000.0, "anonymized": True,
        },
        {
            "visit": "v-000001", "visitor": "0a", "at": 0, "cohort": "desktop", "returns": True,
            "steps": [step("fresh", 0, desktop), step("chain", 40, desktop)],
        },
        {
            "visit": "v-000002", "visitor": "0b", "at": 1, "cohort": "mobile", "returns": False,
            "steps": [step("fresh", 0, phone)],
        },
        {
            "visit": "v-000003", "visitor": "0a", "at": 8000, "cohort": "desktop", "returns": False,
            "steps": [step("return", 0, desktop)],
        },
    ]  # fmt: skip
    validation = Validation(path, BadLines())
    assert [findings for _, findings in validation] == [[], [], []]
    assert validation.finish() == []


def test_nothing_to_import(tmp_path: Path) -> None:
    """A log without people writes nothing and says so."""
    with pytest.raises(TraceError, match="nothing was written"):
        write([], tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_ids_tell_visitors_behind_one_client_apart() -> None:
    """Views with ids belong to the session of these ids, whichever client they come from, at the same time."""
    views = [view(0, ids="A"), view(1, ids="B"), view(2, "other", ids="A"), view(3, ids="B")]
    assert cut(*views) == [("A", [0, 2]), ("B", [1, 3])]


def test_a_session_takes_up_the_first_ids_of_its_client() -> None:
    """A visitor's first call carries no ids: it belongs to the session that shows some next; names last."""
    views = [view(0), view(5, ids="A"), view(9, ids="A"), view(7000, ids="A"), view(7001, ids="C")]
    assert cut(*views) == [("a", [0, 5, 9]), ("a", [7000]), ("C", [7001])]


def test_updates_are_steps_of_their_own_kind(tmp_path: Path) -> None:
    """A PUT becomes an update without a body that nobody saw; the others ask."""
    [session] = cut_sessions([view(0, ids="A"), view(2, ids="A", update=True), view(3, ids="A")])
    [draft] = drafts([session])
    assert [(step.op, step.think, bytes(step.request) == b"{}") for step in draft.steps] == [
        ("get_engagement", 0, False),
        ("update", 2, True),
        ("get_engagement", 1, False),
    ]
