"""Ids of the recorded service: found and taken out wherever a page put them, and nothing else with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.trace.intake.har import HarFiles
from harness.trace.intake.issued import Issued, without_ids
from harness.trace.intake.tying import Tying
from harness.trace.lines import BadLines

VID, SID, CONTEXT, PAGE = "VIS-1234567", "SESS_7654321", "ctx.12345678", "8712763424"
IDS = [VID, SID, PAGE, "77"]


@pytest.mark.parametrize(
    ("value", "left", "count"),
    [
        ({"consumerSections": ["x", VID, 5]}, {"consumerSections": ["x", 5]}, 1),
        ({"s": f"page?vid={VID}&sid={SID}"}, {"s": "page?vid=&sid="}, 2),
        ({"s": f"page%3Fvid%3D{VID.replace('-', '%2D')}"}, {"s": "page?vid="}, 1),
        ({"s": f"a%253D{VID.replace('-', '%252D')}"}, {"s": "a="}, 1),
        ({"a": [{"x": {"vid": VID, "n": 1}}]}, {"a": [{"x": {"n": 1}}]}, 1),
        ({"deep": {"n": int(PAGE), "m": 12}}, {"deep": {"m": 12}}, 1),
        ({f"of {SID}": 1, "k": None}, {"k": None}, 1),
        ({"sid": "77", "pageId": 77, "count": 77, "text": "77"}, {"count": 77, "text": "77"}, 2),
        ({"visitor_ID": "77", "contextId": "78"}, {"contextId": "78"}, 1),
        ({"s": "100 % of VIS-123456", "vid": "other"}, {"s": "100 % of VIS-123456", "vid": "other"}, 0),
        ({"flag": True, "x": 1.5}, {"flag": True, "x": 1.5}, 0),
    ],
)
def test_ids_are_taken_out(value: Any, left: Any, count: int) -> None:
    """Whole values go, longer texts lose the id, short ids count only where a key says so; the rest stays."""
    assert without_ids(value, IDS) == (left, count)
    issued = Issued()
    issued.add(*IDS)
    assert bool(issued.within(json.dumps(value).encode())) == bool(count)


def test_what_is_too_deep_to_look_into_goes() -> None:
    """However deep an id lies, it does not stay, and nothing recurses without end."""
    deep: Any = VID
    for _ in range(900):
        deep = [deep]
    left, count = without_ids({"a": deep, "b": 1}, IDS)
    assert VID not in json.dumps(left)
    assert (count, left["b"]) == (1, 1)


def test_memory_is_bounded() -> None:
    """The newest ids are remembered, and only so many."""
    issued = Issued(most=3)
    issued.add("11111111", "22222222", "333333333", None, "", "x" * 1000)
    issued.add("11111111", "44444444")
    assert issued.within(b'{"a":"11111111 22222222 333333333 44444444"}') == ["11111111", "333333333", "44444444"]
    # A call's own ids are known for sure, and found inside words as well.
    assert issued.within(b'{"a":"x99999999"}', ("99999999", None, "9")) == ["99999999"]


def test_a_recording_keeps_no_id_of_the_service(tmp_path: Path) -> None:
    """Ids that replies gave are in no request of the trace, wherever the page sent them; what was taken is counted."""
    base = "https://lp.example/api/account/12345678/app/engagement/visitors"
    offer = {"campaignId": "33", "engagementId": "44", "engagementRevision": 5, "contextId": CONTEXT}
    reply = {"status": "Available", "sessionId": SID, "visitorId": VID, "pageId": PAGE, "engagementDetails": offer}

    def entry(second: int, url: str, method: str, body: Any, answer: Any) -> dict[str, Any]:
        return {
            "startedDateTime": f"2024-01-01T00:00:{second:02}Z",
            "time": 100,
            "request": {"method": method, "url": url, "postData": {"text": json.dumps(body)}},
            "response": {"status": 200, "content": {"text": json.dumps(answer)}},
        }

    second = {
        "appType": "EXTERNAL",
        "consumerSections": ["x", VID, f"page?vid={VID}&sid={SID}"],
        "note": {"deep": [SID]},
        "engagementAttributes": [{"type": "error", "error": {"contextId": CONTEXT, "message": f"session {SID} lost"}}],
    }
    event = {"type": "impDisplay", "campaign": 33, "x": {"vid": VID}}
    late = {"type": "impAccept", "eContext": [{"type": "engagementContext", "id": CONTEXT, "more": 1}]}
    path = tmp_path / "a.har"
    entries = [
        entry(0, base, "POST", {"appType": "EXTERNAL"}, reply),
        entry(5, f"{base}/{VID}?sid={SID}", "POST", second, reply),
        entry(9, f"{base}/{VID}?sid={SID}", "PUT", {"pageId": PAGE, "impAttributes": [event, late]}, {}),
    ]
    path.write_text(json.dumps({"log": {"entries": entries}}))
    tying = Tying(HarFiles([path], BadLines()))
    (draft,) = tying
    requests = [json.loads(bytes(step.request)) for step in draft.steps]
    assert requests == [
        {"appType": "EXTERNAL"},
        {
            "appType": "EXTERNAL",
            "consumerSections": ["x", "page?vid=&sid="],
            "note": {"deep": []},
            "engagementAttributes": [{"type": "error", "error": {"message": "session  lost"}}],
        },
        {"impAttributes": [{"type": "impDisplay", "x": {}}, {"type": "impAccept"}]},
    ]
    assert tying.notes["ids of the service that were taken out of requests"] == 7
