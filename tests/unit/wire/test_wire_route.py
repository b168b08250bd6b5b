"""Request lines of the contract become calls; others do not."""

from __future__ import annotations

import pytest

from harness.wire.route import Call, route

BASE = "/api/account/12345678/app/engagement/visitors"


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("POST", f"{BASE}/?v=1.0", Call("get_engagement", "12345678", version="1.0")),
        ("POST", f"{BASE}?v=1.0", Call("get_engagement", "12345678", version="1.0")),
        ("POST", BASE, Call("get_engagement", "12345678")),
        ("POST", f"{BASE}/xyz?v=1.0&sid=abc", Call("get_engagement", "12345678", "xyz", "abc", "1.0")),
        ("POST", f"{BASE}/xyz/?v=1.0&sid=abc&__d=77", Call("get_engagement", "12345678", "xyz", "abc", "1.0")),
        ("POST", f"{BASE}/xyz?sid=abc&v=1.0", Call("get_engagement", "12345678", "xyz", "abc", "1.0")),
        ("POST", f"{BASE}/xyz?__d=7&v=1.0&sid=abc", Call("get_engagement", "12345678", "xyz", "abc", "1.0")),
        ("PUT", f"{BASE}/xyz?v=1.0&sid=a%2Fb", Call("update", "12345678", "xyz", "a/b", "1.0")),
        ("PUT", f"{BASE}/x%20z?v=1.0&sid=", Call("update", "12345678", "x z", "", "1.0")),
    ],
)
def test_engagement_targets(method: str, target: str, call: Call) -> None:
    """Path and query are read as the contract writes them, in any order, escaped or raw."""
    assert route(method.encode(), target.encode()) == call


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"{BASE}/?v=1.0"),
        ("HEAD", f"{BASE}/xyz?v=1.0"),
        ("POST", "/"),
        ("POST", f"{BASE}/a/b?v=1.0"),
        ("POST", f"{BASE}x?v=1.0"),
        ("POST", "/api/account/1/2/app/engagement/visitors/"),
        ("POST", "/api/account/12345678/app/77/engagement?v=1.0"),
    ],
)
def test_other_targets_are_no_calls(method: str, target: str) -> None:
    """Other methods, paths and sister operations are not taken for engagement calls."""
    assert route(method.encode(), target.encode()) is None


def test_the_attempt_id_travels_with_the_call() -> None:
    """X-Harness-Attempt is part of the call."""
    call = route(b"POST", f"{BASE}/?v=1.0".encode(), "v-1/0/1")
    assert call == Call("get_engagement", "12345678", version="1.0", attempt="v-1/0/1")
