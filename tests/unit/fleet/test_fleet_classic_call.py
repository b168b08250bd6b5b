"""A call that the engine would send, taken apart for a client that builds its own requests."""

from __future__ import annotations

from harness.fleet.classic_run import take_apart, told
from harness.measure.snapshot import Snapshot
from harness.wire.render import CallRenderer


def test_a_rendered_call_comes_apart_into_what_it_was_made_of() -> None:
    """Method, path, every header but those that a client makes itself, and the body, blank lines in it included."""
    renderer = CallRenderer(host="service.test:81", base_path="/base", account="12345678", headers={"X-Team": "a: b"})
    body = b'{"text":"one\r\n\r\ntwo"}'
    method, path, headers, found = take_apart(renderer.post("vid1", "sid1", body, "v1/0/1"))
    assert (method, path, found) == (
        "POST", "/base/api/account/12345678/app/engagement/visitors/vid1?v=1.0&sid=sid1", body,
    )  # fmt: skip
    assert {name: headers[name] for name in ("X-Team", "X-Harness-Attempt", "LP-URL")} == {
        "X-Team": "a: b", "X-Harness-Attempt": "v1/0/1", "LP-URL": "https://service.test:81/",
    }  # fmt: skip
    assert not {"Host", "Content-Length"} & headers.keys()


def test_what_is_told_names_only_what_happened() -> None:
    """Counts above zero by name; nothing at all is `none`; a lag nobody measured is not told."""
    snapshot = Snapshot(counters={("visits", "all", "completed"): 3, ("attempts", "update", "all", "accepted"): 2})
    assert told(snapshot) == "visits: 3 completed\nsteps: none\nattempts: 2 accepted\nchain: none"
