"""Files of others: HAR, GoReplay, mapped JSON lines, log formats, and bodies as they were recorded."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from harness.errors import TraceError, UsageError
from harness.trace.intake.exchange import Exchange
from harness.trace.intake.gor import SEPARATOR, GorFiles
from harness.trace.intake.har import HarFiles
from harness.trace.intake.jsonlines import JsonLines, read_mapping
from harness.trace.intake.logformat import LogLine, NoLogLine, line_reader
from harness.trace.intake.recorded import recorded_request
from harness.trace.intake.recording import Recording
from harness.trace.lines import BadLines
from harness.units import NS_PER_MS, NS_PER_S

BASE = "/api/account/12345678/app/engagement/visitors"
OFFER = {"campaignId": "33", "engagementId": "44", "engagementRevision": 5, "contextId": "1"}
REPLY = json.dumps({"status": "Available", "sessionId": "S", "visitorId": "V", "engagementDetails": OFFER})
AT_NS = 1_700_000_000 * NS_PER_S


def taken(recording: Recording) -> list[tuple[Any, ...]]:
    """What matters of the exchanges: op, ids sent, ids given, result, body, begin after AT_NS and duration in ms."""
    return [
        (
            each.op,
            f"{each.vid}/{each.sid}",
            f"{each.reply_vid}/{each.reply_sid}",
            each.result,
            each.body,
            (each.began_ns - AT_NS) // NS_PER_MS,
            (each.done_ns - each.began_ns) // NS_PER_MS,
        )
        for each in recording
    ]


# Bodies


@pytest.mark.parametrize(
    ("op", "body", "offer", "kept"),
    [
        ("get_engagement", '{"appType": "EXTERNAL",\n "n": 1.50}', {}, '{"appType":"EXTERNAL","n":1.50}'),
        ("get_engagement", '{"vid":"V","sid":"S","pageId":"1","appType":"MSDK"}', {}, '{"appType":"MSDK"}'),
        (
            "update",
            '{"pageId":"9","impAttributes":[{"type":"impDisplay","campaign":33,"engId":"44","revision":5,'
            '"eContext":[{"type":"engagementContext","id":"1"}]},{"type":"impClose","campaign":77}]}',
            OFFER,
            '{"impAttributes":[{"type":"impDisplay"},{"type":"impClose","campaign":77}]}',
        ),
        (
            "update",
            '{"impAttributes":[{"type":"impAccept","campaign":33,"eContext":[{"id":"7"}]}]}',
            {},
            '{"impAttributes":[{"type":"impAccept"}]}',
        ),
    ],
)
def test_recorded_bodies(op: Any, body: str, offer: dict[str, Any], kept: str) -> None:
    """Ids, pageId and what an offer fills in are left out; all else stays as it was, in one line."""
    assert recorded_request(op, body.encode(), json.dumps(offer).encode() if offer else b"") == (kept.encode(), 0)


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[1]", b"1", b'{"a":', b"\xff{}", b'{"a":' * 5000, b'{"sid":1,"a":' + b"[" * 500 + b"]" * 500 + b"}"],
)
def test_bodies_that_no_trace_can_keep(body: bytes) -> None:
    """What is no JSON object is told as such, whatever it is."""
    assert recorded_request("get_engagement", body, b"") == (None, 0)


# HAR


def entry(**changes: Any) -> dict[str, Any]:
    """A Chrome-like entry of a first call; `changes` replace or (None) remove keys, dotted."""
    made: dict[str, Any] = {
        "_initiator": {"type": "script"},
        "connection": "443",
        "pageref": "page_1",
        "startedDateTime": "2023-11-14T22:13:20.250Z",
        "time": 41.5,
        "request": {
            "method": "POST",
            "url": f"https://smt.example{BASE}/?v=1.0&__d=77",
            "headers": [{"name": "User-Agent", "value": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4)"}],
            "postData": {"mimeType": "application/json", "text": '{"appType":"EXTERNAL"}'},
        },
        "response": {"status": 200, "headers": [], "content": {"size": 1, "mimeType": "x", "text": REPLY}},
        "timings": {"blocked": -1},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return made


def har(tmp_path: Path, *entries: Any, creator: str = "WebInspector", bom: bool = False) -> Path:
    path = tmp_path / "a.har"
    text = json.dumps({"log": {"version": "1.2", "creator": {"name": creator}, "pages": [], "entries": entries}})
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    return path


CALL = ("get_engagement", "/", "V/S", "available", b'{"appType":"EXTERNAL"}', 250, 41)


@pytest.mark.parametrize(
    ("flavour", "changes", "expected"),
    [
        ("Chrome", {}, CALL),
        ("Firefox: a zone, base64, a whole number", {
            "startedDateTime": "2023-11-15T00:13:20.250+02:00", "time": 41,
            "response__content": {"mimeType": "x", "text": b64encode(REPLY.encode()).decode(), "encoding": "base64"},
        }, CALL),
        ("k6 Studio: base64, no time, no reply at all", {"time": 0, "response": None},
         ("get_engagement", "/", "/", "", b'{"appType":"EXTERNAL"}', 250, 0)),
        ("Charles: content not kept", {"response__content": {"size": 9, "mimeType": "x"}},
         (*CALL[:2], "/", "", *CALL[4:])),
        ("blocked: status 0, negative time", {"response__status": 0, "time": -1},
         ("get_engagement", "/", "/", "reset", b'{"appType":"EXTERNAL"}', 250, 0)),
        ("no post data", {"request__postData": None}, (*CALL[:4], b"", *CALL[5:])),
        ("a PUT in disguise", {
            "request__url": f"https://smt.example/base{BASE}/V?v=1.0&sid=S#x",
            "request__headers": [{"name": "X-HTTP-Method-Override", "value": "PUT"}],
            "response__content": {"text": ""},
        }, ("update", "V/S", "/", "accepted", b'{"appType":"EXTERNAL"}', 250, 41)),
    ],
)  # fmt: skip
def test_har_flavours(tmp_path: Path, flavour: str, changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Each tool's way to write a call gives the same exchange, as far as the tool kept it."""
    assert taken(HarFiles([har(tmp_path, entry(**changes), bom=True)], BadLines())) == [expected], flavour


def test_har_leaves_out_and_counts(tmp_path: Path) -> None:
    """Other requests and preflights are counted, whatever else is wrong with them; devices come from the agent."""
    preflight = entry(request__method="OPTIONS", startedDateTime=None)
    path = har(tmp_path, entry(), preflight, {"request": {"url": "https://x/y.png"}}, entry(request__method="GET"))
    files = HarFiles([path], BadLines())
    [exchange] = files
    assert (exchange.cohort, exchange.account, exchange.line) == ("mobile", "12345678", "0")
    assert (files.count, files.left_out) == (4, {"preflight": 1, "other request": 2})


def one(found: Any) -> bytes:
    return json.dumps({"log": {"entries": [found]}}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a.har: not a HAR file: "),
        (b"{}", "a.har: not a HAR file: Object missing required field `log`"),
        (b'{"log":{"entries":{}}}', "a.har: not a HAR file: Expected `array`, got `object`"),
        (b'{"log":{"entries":[', "a.har: not a HAR file: "),
        (b'{"log":{"entries":[' + b"[" * 100_000, "a.har: not a HAR file: "),
        (one(1), "a.har: entry 1: Expected `object`, got `int`"),
        (one(entry(startedDateTime="soon")), "entry 1: startedDateTime is no time"),
        (one(entry(request__postData={"text": "%", "encoding": "base64"})), "entry 1: "),
        ('{"log":{"entries":[]}}'.encode("utf-16"), "a.har: not a HAR file: "),
    ],
)  # fmt: skip
def test_har_files_that_are_none(tmp_path: Path, content: bytes, reason: str) -> None:
    """What is no HAR, or an entry that is none, is one line with file and place."""
    path = tmp_path / "a.har"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=reason.replace("`", ".")):
        list(HarFiles([path], BadLines()))


# GoReplay


def record(kind: int, key: str, time_ns: int, message: str, extra: str = "") -> bytes:
    return f"{kind} {key} {time_ns}{extra}\n{message}".encode() + SEPARATOR


def request(target: str = f"{BASE}/?v=1.0", method: str = "POST", body: str = '{"a":1}', head: str = "") -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"


def response(body: str = REPLY, status: int = 200) -> str:
    return f"HTTP/1.1 {status} OK\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"


def gor(tmp_path: Path, *records: bytes, policy: str = "fail") -> tuple[list[tuple[Any, ...]], GorFiles, BadLines]:
    path = tmp_path / "r.gor"
    path.write_bytes(b"".join(records))
    bad = BadLines(policy)  # type: ignore[arg-type]
    files = GorFiles([path], bad)
    return taken(files), files, bad


def test_gor_requests_and_replies(tmp_path: Path) -> None:
    """Replies find their requests by id, absolute times and round trips alike; what has none comes without."""
    found, files, _ = gor(
        tmp_path,
        record(1, "a", AT_NS, request()),
        record(1, "b", AT_NS + 5 * NS_PER_MS, request(f"{BASE}/V?v=1.0&sid=S", "PUT", head="X-Real-IP: 192.0.2.1\r\n")),
        record(2, "a", AT_NS + 20 * NS_PER_MS, response(), " 1000000"),
        record(2, "b", 7 * NS_PER_MS, response("")),
        record(1, "c", AT_NS + 30 * NS_PER_MS, request()),
        record(1, "d", AT_NS + 31 * NS_PER_MS, request("/img.png", "GET", "")),
        record(2, "d", AT_NS + 31 * NS_PER_MS, response()),
        record(3, "a", AT_NS, response()),
    )
    assert found == [
        ("get_engagement", "/", "V/S", "available", b'{"a":1}', 0, 21),
        ("update", "V/S", "/", "accepted", b'{"a":1}', 5, 7),
        ("get_engagement", "/", "/", "", b'{"a":1}', 30, 0),
    ]
    assert files.count == 8
    assert files.left_out == {"other request": 1, "reply without an engagement call": 1, "reply of a replay": 1}


def test_gor_records_that_are_none(tmp_path: Path) -> None:
    """A record that is none ends the import with file, number and byte, or is skipped and counted."""
    good = record(1, "a", AT_NS, request())
    for junk, reason in (
        (b"hello" + SEPARATOR, "no GoReplay record"),
        (b"1 a -5\n" + SEPARATOR, "no GoReplay record"),
        (b"1 a 5\nnonsense\r\n\r\n" + SEPARATOR, "its request is no HTTP/1.1"),
        (b"\0\xff" * 40 + SEPARATOR, "no GoReplay record"),
    ):
        with pytest.raises(TraceError, match=rf"r.gor: record 2 \(byte {len(good)}\): {reason}"):
            gor(tmp_path, good, junk, good)
        found, _, bad = gor(tmp_path, good, junk, good, policy="skip")
        assert (len(found), bad.count) == (2, 1) or found == found[:1]


def test_gor_record_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record without end is skipped in bounded memory, and those after it are read."""
    monkeypatch.setattr("harness.trace.intake.gor.MAX_RECORD_BYTES", 1000)
    long = record(1, "a", AT_NS, request(body="x" * 1_000_000))
    others = [record(1, key, AT_NS, request()) for key in "bc"]
    found, _, bad = gor(tmp_path, others[0], long, others[1], policy="skip")
    assert (len(found), bad.count) == (2, 1)
    assert "a record longer than" in bad.messages[0]


# JSON lines


def jsonl(tmp_path: Path, mapping: str, *lines: Any) -> tuple[list[Exchange], JsonLines]:
    (tmp_path / "map.toml").write_text(mapping)
    (tmp_path / "e.jsonl").write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    files = JsonLines([tmp_path / "e.jsonl"], read_mapping(tmp_path / "map.toml"), BadLines())
    return list(files), files


def test_mapped_events(tmp_path: Path) -> None:
    """Events of visitors become exchanges whose ids tie them; what the mapping does not want is counted."""
    mapping = """
        time = "ts"
        time_unit = "ms"
        visitor = ["user.id", "site"]
        op = "kind"
        ops = { page = "get_engagement", shown = "update" }
        request = "payload"
        cohort = "device"
        where = { env = ["prod"] }
    """
    base = {"env": "prod", "user": {"id": 7}, "site": "a", "kind": "page", "device": "Smart TV!"}
    found, files = jsonl(
        tmp_path,
        mapping,
        {**base, "ts": 1_700_000_000_000, "payload": {"appType": "EXTERNAL"}},
        {**base, "ts": 1_700_000_000_500, "payload": '{"impAttributes":[]}', "kind": "shown"},
        {**base, "ts": 1_700_000_001_000, "user": {"id": 8}},
        {**base, "ts": 1_700_000_002_000, "env": "test"},
        {**base, "ts": 1_700_000_002_000, "kind": "scroll"},
    )
    first, second, other = found
    assert [(each.op, each.body, each.cohort, (each.began_ns - AT_NS) // NS_PER_MS) for each in found] == [
        ("get_engagement", b'{"appType":"EXTERNAL"}', "smart-tv", 0),
        ("update", b'{"impAttributes":[]}', "smart-tv", 500),
        ("get_engagement", b'{"appType":"EXTERNAL"}', "smart-tv", 1000),
    ]
    assert first.vid == "" and first.reply_vid == second.vid != other.reply_vid
    assert files.left_out == {"line without the wanted env": 1, "line with another kind": 1}


def test_mapped_calls_with_the_services_own_ids(tmp_path: Path) -> None:
    """Ids, replies, statuses and durations may be mapped, too."""
    mapping = 'time="t"\nvid="v"\nsid="s"\nreply="r"\nstatus="c"\nduration="d"\nduration_unit="s"'
    line = {"t": "2023-11-14T22:13:20.250Z", "v": "V0", "s": "S0", "r": json.loads(REPLY), "c": 200, "d": 0.5}
    found, _ = jsonl(tmp_path, mapping, line)
    assert (found[0].vid, found[0].sid, found[0].reply_vid, found[0].result) == ("V0", "S0", "V", "available")
    assert found[0].done_ns - found[0].began_ns == NS_PER_S // 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops", "e.jsonl:1: not JSON"),
        ("[]", "e.jsonl:1: not a JSON object"),
        ('{"u":1}', "e.jsonl:1: no time at t"),
        ('{"u":1,"t":-5}', "e.jsonl:1: no time at t"),
        ('{"u":1,"t":true}', "e.jsonl:1: no time at t"),
        ('{"t":5}', "e.jsonl:1: no visitor at u"),
    ],
)
def test_lines_that_cannot_be_mapped(tmp_path: Path, line: str, reason: str) -> None:
    """A line without what the mapping needs is a bad line with its place."""
    with pytest.raises(TraceError, match=reason):
        jsonl(tmp_path, 'time="t"\nvisitor="u"', line)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "not TOML"),
        ('visitor="u"', "missing required field `time`"),
        ('time="t"', "nothing says whose a line is"),
        ('time="t"\nvisitor="u"\nvisiter="x"', "unknown key visiter; did you mean visitor"),
        ('time="t"\nvisitor="u"\nops={a="buy"}', "Invalid enum value 'buy'"),
    ],
)
def test_wrong_mappings(tmp_path: Path, text: str, reason: str) -> None:
    """A mapping that cannot work is refused with file and reason."""
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(UsageError, match=reason.replace("`", ".")):
        read_mapping(tmp_path / "m.toml")


# Formats of logs

AGENT = "Mozilla/5.0 (X11; Linux x86_64)"
WHOLE = LogLine(b"192.0.2.1", AT_NS, b"GET", b"/a?b", b"200", AGENT.encode())


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        ("auto", f'192.0.2.1 - bob [14/Nov/2023:22:13:20 +0000] "GET /a?b HTTP/1.1" 200 5 "-" "{AGENT}"', WHOLE),
        ("common", '192.0.2.1 - - [15/Nov/2023:00:13:20 +0200] "GET /a?b HTTP/1.1" 200 5', WHOLE._replace(agent=None)),
        ("auto", json.dumps({"time_iso8601": "2023-11-14T22:13:20+00:00", "remote_addr": "192.0.2.1",
                             "request": "GET /a?b HTTP/1.1", "status": "200", "http_user_agent": AGENT}), WHOLE),
        ("json", json.dumps({"msec": "1700000000.250", "client_ip": "192.0.2.1", "method": "GET", "uri": "/a?b",
                             "status": 200, "user_agent": AGENT}), WHOLE._replace(at_ns=AT_NS + 250 * NS_PER_MS)),
        ("json", json.dumps({"@timestamp": 1700000000250, "client_ip": "192.0.2.1", "method": "GET", "uri": "/a?b",
                             "status": 200}), WHOLE._replace(at_ns=AT_NS + 250 * NS_PER_MS, agent=None)),
        ('$remote_addr|$msec|"$request"|$status|$upstream_time|"$http_user_agent"',
         f'192.0.2.1|1700000000.250|"GET /a?b HTTP/1.1"|200|0.1|"{AGENT}"',
         WHOLE._replace(at_ns=AT_NS + 250 * NS_PER_MS)),
        ("[$time_local] ${http_x_forwarded_for} $request_method $request_uri $status",
         "[14/Nov/2023:22:13:20 +0000] 192.0.2.1, 10.0.0.1 GET /a?b 200", WHOLE._replace(agent=None)),
        ('%v %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D',
         f'www 192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b HTTP/1.1" 200 5 "-" "{AGENT}" 77', WHOLE),
    ],
)  # fmt: skip
def test_log_formats(log_format: str, line: str, expected: LogLine) -> None:
    """Each format gives the same request, with the agent and the digits of the time that it has."""
    assert line_reader(log_format)(line.encode()) == expected


@pytest.mark.parametrize(
    ("log_format", "line", "reason"),
    [
        ("json", "{", "not JSON"),
        ("json", "[1]", "not a JSON object"),
        ("json", '{"time":"x","ip":"a","request":"GET / HTTP/1.1","status":1}', "no time that can be read"),
        ("json", '{"time":5,"ip":"a","status":200}', "no request that can be read; it is looked for as request"),
        ("combined", "{}", "not in combined log format"),
        ("$remote_addr $msec $request_uri $status", "1.2.3.4 now / 200", "not in the format"),
        ("%h %t %U %s", "1.2.3.4 [99/Xxx/2023:22:13:20 +0000] / 200", "its time is none"),
    ],
)
def test_lines_in_no_format(log_format: str, line: str, reason: str) -> None:
    """A line that is not in its format says why."""
    with pytest.raises(NoLogLine, match=reason):
        line_reader(log_format)(line.encode())
