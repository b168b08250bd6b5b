"""Access log lines: which are page views, and why the others are not."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.errors import TraceError
from harness.trace.accesslog import AccessLog, PageView
from harness.trace.intake.logformat import line_reader
from harness.trace.lines import BadLines
from harness.trace.useragent import Agent
from harness.units import NS_PER_S

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0"


def line(
    request: str = "GET / HTTP/1.1", status: int = 200, agent: str = BROWSER, address: str = "192.0.2.1",
    time: str = "17/May/2015:10:05:03 +0000", user: str = "-",
) -> str:  # fmt: skip
    return f'{address} - {user} [{time}] "{request}" {status} 123 "http://example.com/" "{agent}"'


def views(
    tmp_path: Path, *lines: str, key: bytes = b"k", policy: str = "fail", log_format: str = "auto", steps: str = "all"
) -> tuple[list[PageView], AccessLog, BadLines]:
    path = tmp_path / "access.log"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    bad = BadLines(policy)  # type: ignore[arg-type]
    log = AccessLog([path], key, bad, reader=line_reader(log_format), steps=steps)  # type: ignore[arg-type]
    return list(log), log, bad


def test_what_counts_as_a_page_view(tmp_path: Path) -> None:
    """Every line is either a page view or left out for one counted reason; together they are all lines."""
    found, log, _ = views(
        tmp_path,
        line(),
        line("GET /blog/post.html?style=a.css HTTP/1.1"),
        line("GET /style.css?v=3 HTTP/1.1"),
        line("GET /images/x HTTP/1.1"),
        line("GET /robots.txt HTTP/1.1"),
        line("GET /a/photo.JPG HTTP/1.0"),
        line("POST / HTTP/1.1"),
        line("HEAD / HTTP/1.1"),
        line("-"),
        line(status=304),
        line(status=404),
        line(status=500),
        line(agent="Googlebot/2.1"),
        line(agent="-"),
    )
    assert (len(found), log.lines, log.without_agent) == (3, 14, 0)
    assert log.left_out == Counter(
        {"asset": 4, "method other than GET": 3, "status other than 2xx or 3xx": 2, "robot": 2}
    )


@pytest.mark.parametrize(("zone", "hours", "minutes"), [("+0000", 0, 0), ("+0530", 5, 30), ("-0800", -8, 0)])
def test_times_and_zones(tmp_path: Path, zone: str, hours: int, minutes: int) -> None:
    """Times equal those that the standard library computes, in any zone."""
    moment = datetime(2024, 2, 29, 23, 59, 58, tzinfo=timezone(timedelta(hours=hours, minutes=minutes)))
    [view] = views(tmp_path, line(time=f"29/Feb/2024:23:59:58 {zone}"))[0]
    assert view.at_ns == int(moment.timestamp()) * NS_PER_S


def test_pseudonyms(tmp_path: Path) -> None:
    """Same address and agent, same pseudonym; another address, agent or key, another one; neither stands in it."""
    found = views(tmp_path, line(), line(), line(address="2001:db8::1"), line(agent=BROWSER + " x"))[0]
    first, second, other_address, other_agent = (view.client for view in found)
    other_key = views(tmp_path, line(), key=b"other")[0][0].client
    assert first == second
    assert len({first, other_address, other_agent, other_key}) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", view.client) for view in found)


def test_odd_lines_that_are_still_combined_format(tmp_path: Path) -> None:
    """Users with blanks, escaped quotes and an agent cut off before its quote are read."""
    found = views(
        tmp_path, line(user="john doe"), line('GET /a\\"b HTTP/1.1'), line()[:-1], line("GET /caf\xe9 HTTP/1.1")
    )[0]
    assert [view.agent for view in found] == [Agent("desktop", "LINUX")] * 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello", 'not in combined log format: address ident user [time] "request" status size "referer" "agent"'),
        (line(time="17/Foo/2015:10:05:03 +0000"), "its time is none"),
        (line(time="17/May/0000:10:05:03 +0000"), "its time is none"),
    ],
)
def test_bad_lines(tmp_path: Path, text: str, reason: str) -> None:
    """A line in another format ends the import with file, line and reason, or is skipped and counted."""
    with pytest.raises(TraceError, match=re.escape(f"access.log:2: {reason}")):
        views(tmp_path, line(), text)
    found, _, bad = views(tmp_path, line(), text, line(), policy="skip")
    assert (len(found), bad.count) == (2, 1)


def test_common_format_knows_no_agent(tmp_path: Path) -> None:
    """A line in common format is a view whose visitor is its address; how many there are is counted."""
    common = line().split(' "http')[0]
    found, log, _ = views(tmp_path, common, line(address="192.0.2.2").split(' "http')[0], common)
    assert [view.agent for view in found] == [None] * 3
    assert found[0].client == found[2].client != found[1].client
    assert log.without_agent == 3


BASE = "/api/account/12345678/app/engagement/visitors"


def test_engagement_calls(tmp_path: Path) -> None:
    """Calls of the service are steps when they succeeded; the ids in path or query name the visitor, vid before sid."""
    found, log, _ = views(
        tmp_path,
        line(f"POST {BASE}/?v=1.0 HTTP/1.1", agent="okhttp/4.9"),
        line(f"POST {BASE}/xyz?v=1.0&sid=abc HTTP/1.1"),
        line(f"PUT {BASE}/xyz?v=1.0&sid=abc HTTP/1.1", address="192.0.2.9"),
        line(f"POST {BASE}/?v=1.0 HTTP/1.1", 500),
        line(f"OPTIONS {BASE}/?v=1.0 HTTP/1.1"),
        line(f"GET {BASE}/xyz?v=1.0 HTTP/1.1"),
        line("GET /page?vid=x%79z&sid=abc HTTP/1.1"),
        line("GET /page?sid=abc HTTP/1.1"),
    )
    assert [view.update for view in found] == [False, False, True, False, False]
    none, first, second, page, session = (view.ids for view in found)
    assert none == ""
    assert first == second == page != session != ""
    assert log.left_out == Counter({"call without success": 1, "preflight": 1, "method other than GET": 1})


@pytest.mark.parametrize(("steps", "count"), [("all", 2), ("pages", 1), ("calls", 1)])
def test_steps_are_pages_or_calls(tmp_path: Path, steps: str, count: int) -> None:
    """A log that has both can be read for one kind alone; the other is counted."""
    found, log, _ = views(tmp_path, line(), line(f"POST {BASE}/?v=1.0 HTTP/1.1"), steps=steps)
    assert (len(found), log.left_out.total()) == (count, 2 - count)
