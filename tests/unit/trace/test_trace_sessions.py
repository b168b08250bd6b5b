"""From page views to visits: order, gaps, returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import TraceError
from harness.trace import sessions
from harness.trace.accesslog import PageView
from harness.trace.check import Validation
from harness.trace.lines import BadLines
from harness.trace.sessions import Session, cut_sessions, import_visits, in_order
from harness.trace.useragent import Agent

DESKTOP, PHONE = Agent("desktop", "LINUX"), Agent("mobile", "IOS", "17.4")


def view(at_s: int, visitor: str = "a", agent: Agent = DESKTOP) -> PageView:
    return PageView(at_s, visitor, agent, f"log:{at_s}")


def cut(*views: PageView, **bounds: int) -> list[tuple[str, list[int]]]:
    return [(session.visitor, session.views_s) for session in cut_sessions(views, **bounds)]


def test_order_is_restored_within_the_window() -> None:
    """Views up to the window behind the latest come out in order, equal times as they stood."""
    views = [view(100), view(160), view(41, "x"), view(100, "b"), view(220), view(100, "c")]
    expected = [view(41, "x"), view(100), view(100, "b"), view(100, "c"), view(160), view(220)]
    assert list(in_order(views, BadLines(), window_s=120)) == expected


def test_a_view_behind_the_window_is_a_bad_line() -> None:
    """A view older than what was already given out is reported with its place, or skipped and counted."""
    views = [view(1000), view(1200), view(900)]
    with pytest.raises(TraceError, match="log:900: 300 s older than lines before it: sort the log, oldest file first"):
        list(in_order(views, BadLines(), window_s=120))
    bad = BadLines("skip")
    assert (list(in_order(views, bad, window_s=120)), bad.count) == (views[:2], 1)


def test_held_views_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the window, only so many views are held: beyond that the oldest go out."""
    monkeypatch.setattr(sessions, "MAX_HELD", 2)
    taken = 0

    def source() -> object:
        nonlocal taken
        for at_s in range(10):
            taken += 1
            yield view(at_s)

    ordered = in_order(source(), BadLines(), window_s=10**6)  # type: ignore[arg-type]
    assert (next(ordered), taken) == (view(0), 3)


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
            yield view(number * 1000, f"v{number}")

    first = next(cut_sessions(source()))  # type: ignore[arg-type]
    assert (first.visitor, taken) == ("v0", 3)


def test_visits_with_returns_and_think_times(tmp_path: Path) -> None:
    """The written trace: identities, think times, returns known from later on, request from the agent's classes."""
    path = tmp_path / "t.jsonl"
    found = [Session("0a", DESKTOP, [1000, 1040]), Session("0b", PHONE, [1001]), Session("0a", DESKTOP, [9000])]
    assert import_visits(found, path) == (3, 4)
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
    with pytest.raises(TraceError, match="no page view of a person: nothing was written"):
        import_visits([], tmp_path / "t.jsonl")
    assert list(tmp_path.iterdir()) == []
