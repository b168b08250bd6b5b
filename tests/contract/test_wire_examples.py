"""The examples of the contract, kept as data in fixtures/replies, against what the wire room says and reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.visitor.records import Result
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.events import EVENT_TYPES
from harness.wire.render import CallRenderer
from harness.wire.reply import Reply, read_reply
from harness.wire.request import encode_engagement, encode_update
from harness.wire.validate import check_reply, check_request

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "replies"
EXAMPLES = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(FOLDER.glob("*.json"))
    if not path.stem.startswith("sample-")
}
RENDERER = CallRenderer(host="engage.test", base_path="", account="12345678")


def sample(name: str) -> list[dict[str, Any]]:
    """One list of request parts."""
    loaded: list[dict[str, Any]] = json.loads((FOLDER / f"sample-{name}.json").read_text(encoding="utf-8"))
    return loaded


def reply_body(example: dict[str, Any]) -> bytes:
    """The reply's bytes as a service would write them (standard library, not our writer)."""
    reply = example["reply"]
    return (reply["text"] if "text" in reply else json.dumps(reply["body"])).encode()


@pytest.mark.parametrize("name", EXAMPLES)
def test_reply_is_read_as_the_example_says(name: str) -> None:
    """Every documented reply and error becomes exactly the expected Reply, whose kind is an attempt result."""
    example = EXAMPLES[name]
    status = example["reply"]["status"]
    got = read_reply(example["op"], status, reply_body(example))
    expected = {key: value for key, value in example["expect"].items() if key != "details"}
    assert got.details == example["expect"].get("details")
    assert got == Reply(http_status=status, offer=got.offer, **expected)
    assert got.kind in Result.__members__


@pytest.mark.parametrize("name", EXAMPLES)
def test_reply_problems_are_those_of_the_example(name: str) -> None:
    """The checker finds something at exactly the places that the example names."""
    example = EXAMPLES[name]
    found = check_reply(example["op"], example["reply"]["status"], reply_body(example))
    assert [problem.path for problem in found] == example["problems"]


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if "call" in example])
def test_request_is_written_as_the_example_says(name: str) -> None:
    """Every example call gives the documented request line and body, byte for byte, and passes the checker."""
    example = EXAMPLES[name]
    call = example["call"]
    assert check_request(example["op"], call["request"]) == []
    if example["op"] == "update":
        body = encode_update(call["request"], call["page_id"], call["details"])
        sent = RENDERER.put(call["vid"], call["sid"], body, "v-1/0/1")
    else:
        body = encode_engagement(call["request"])
        sent = RENDERER.post(call["vid"], call["sid"], body, "v-1/0/1")
    assert body.decode() == call["body"]
    assert check_request(example["op"], json.loads(body), sent=True) == []
    assert sent.split(b"\r\n", 1)[0].decode() == call["request_line"]
    assert sent.split(b"\r\n\r\n", 1)[1] == body


@pytest.mark.parametrize("op", ["get_engagement", "update"])
def test_attribute_samples_pass(op: str) -> None:
    """The documentation's samples of all ten engagement attributes raise no problem in POST and in PUT."""
    samples = sample("engagement-attributes")
    assert {item["type"] for item in samples} == set(ATTRIBUTE_TYPES)
    request: dict[str, Any] = {"engagementAttributes": samples}
    if op == "get_engagement":
        request["appType"] = "EXTERNAL"
    assert check_request(op, request) == []


def test_event_samples_pass_in_an_update_only() -> None:
    """All five impression events pass in a PUT, and each of them is an error in a POST and among PUT's attributes."""
    samples = sample("impression-events")
    assert {item["type"] for item in samples} == set(EVENT_TYPES)
    assert check_request("update", {"pageId": "1", "impAttributes": samples}, sent=True) == []
    expected = [(f"engagementAttributes[{n}].type", "forbidden", "error") for n in range(5)]
    for op, request in (("get_engagement", {"appType": "MSDK"}), ("update", {"pageId": "1"})):
        found = check_request(op, {**request, "engagementAttributes": samples})
        assert [problem[:3] for problem in found] == expected
