"""What an update tells: the visit's last Available reply, and nothing once that one is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from harness.visitor.retry import POLICIES
from tests.unit.visitor.play import FRESH, GE, RETURN, STALE, UPDATE, World, engagement, step

SEEN: dict[str, Any] = {
    "type": "impDisplay",
    "campaign": 3346848610,
    "engId": 3562981110,
    "revision": 44,
    "eContext": [{"type": "engagementContext", "id": "2"}],
}


def available(page: str, revision: int, sid: str = "S1") -> tuple[int, bytes]:
    offer = {"campaignId": 1, "engagementId": 2, "engagementRevision": revision, "contextId": "3"}
    return 200, engagement("Available", "V1", sid, page, engagementDetails=offer)


def test_update_is_filled_from_the_available_reply() -> None:
    """An update is a PUT with the newest ids, the reply's pageId, and events completed with its offer."""
    player = World().visit(GE, UPDATE)
    player.ask("available")
    request = player.send()
    assert (request.method, request.ids, request.attempt) == ("PUT", ("V1", "S1"), "v1/1/1")
    assert request.body == {"pageId": "P1", "impAttributes": [SEEN]}


def test_newest_available_reply_counts() -> None:
    """The newest Available reply fills the update; one that is not available in between takes nothing back."""
    player = World().visit(GE, GE, GE, UPDATE)
    for answer in (available("P1", 1), available("P2", 2), (200, engagement("NotAvailable", "V1", "S2", "P3"))):
        player.ask(answer)
    request = player.send()
    assert request.ids == ("V1", "S2")
    assert request.body["pageId"] == "P2"
    assert [event["revision"] for event in request.body["impAttributes"]] == [2]


def test_errors_do_not_take_an_offer_back() -> None:
    """After an error that is no rejection, updates still tell of the last Available reply."""
    player = World().visit(GE, GE, UPDATE, UPDATE)
    for answer in (available("P1", 1), "server_error", "timeout"):
        player.ask(answer)
    assert player.send().body["pageId"] == "P1"


def test_what_the_trace_says_stands() -> None:
    """A field that the recorded update carries itself is not replaced."""
    player = World().visit(GE, step("update", impAttributes=[{"type": "impClose", "revision": 9}], pageId="mine"))
    player.ask("available")
    body = player.send().body
    assert body == {
        "pageId": "mine",
        "impAttributes": [{"type": "impClose", "campaign": 3346848610, "engId": 3562981110, "revision": 9}],
    }


def test_available_reply_without_details() -> None:
    """A reply that is Available without engagementDetails still gives its page."""
    player = World().visit(GE, UPDATE)
    player.ask((200, b'{"status":"Available","visitorId":"V1","sessionId":"S1","pageId":7}'))
    assert player.send().body == {"pageId": "7", "impAttributes": [{"type": "impDisplay"}]}


@pytest.mark.parametrize("answer", ["not_available", "server_error", "timeout", "bad_reply", "rejected"])
def test_skipped_without_an_available_reply(answer: str) -> None:
    """No reply but an Available one lets an update go out."""
    player = World().visit(GE, UPDATE)
    player.ask(answer)
    assert player.session.next_action(player.now_ns) is None
    assert player.outcomes[1] == "skipped"


@pytest.mark.parametrize("anew", [FRESH, RETURN, STALE], ids=["fresh", "return", "stale"])
def test_skipped_when_the_offer_was_left_behind(anew: dict[str, Any]) -> None:
    """A step that chose its ids anew without becoming available leaves no offer to tell of."""
    player = World().visit(GE, anew, UPDATE)
    player.ask("available")
    player.ask("server_error")
    assert player.session.next_action(player.now_ns) is None
    assert player.outcomes == ["available", "failed", "skipped"]


def test_skipped_after_a_rejection() -> None:
    """The offer goes with the refused ids."""
    player = World().visit(GE, UPDATE, UPDATE)
    player.ask("available")
    player.ask("rejected")
    assert player.session.next_action(player.now_ns) is None
    assert player.outcomes == ["available", "rejected", "skipped"]


def test_stale_update() -> None:
    """An update may carry stale ids on purpose and still tells of the last Available reply."""
    player = World().visit(GE, {**UPDATE, "identity": "stale"})
    player.ask("available")
    request = player.ask("rejected")
    assert request.vid not in (None, "V1")
    assert request.body["pageId"] == "P1"
    assert (player.attempt.stale, player.outcomes[-1]) == (True, "rejected")


def test_update_is_tried_again() -> None:
    """An update that met an error goes out again, the same but for its attempt number."""
    player = World(POLICIES["until-available"]).visit(GE, UPDATE)
    player.ask("available")
    first, again = player.ask("loading"), player.ask("accepted")
    assert (first.attempt, again.attempt) == ("v1/1/1", "v1/1/2")
    assert (first.ids, first.body) == (again.ids, again.body)
    assert player.outcomes == ["available", "accepted"]
