"""Input as it comes: far times, lies in headers, loose HAR files, signals; each ends in order, or is counted."""

from __future__ import annotations

import gzip
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run_command
from harness.errors import TraceError
from harness.trace.intake.gor import SEPARATOR, GorFiles
from harness.trace.intake.har import HarFiles
from harness.trace.intake.logformat import NoLogLine, line_reader
from harness.trace.lines import BadLines
from harness.trace.privacy.pseudonyms import Pseudonyms

AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/115.0"
URL = "https://lp.example/api/account/12345678/app/engagement/visitors"
VISIT = {"visit": "v", "visitor": "p", "at": 0, "steps": [{"op": "get_engagement", "identity": "fresh"}]}


def log_line(stamp: str, address: str = "1.2.3.4") -> str:
    return f'{address} - - [{stamp}] "GET / HTTP/1.1" 200 1 "-" "{AGENT}"\n'


def har(folder: Path, *entries: Any, name: str = "a.har") -> Path:
    path = folder / name
    path.write_text(json.dumps({"log": {"entries": entries}}))
    return path


def entry(started: str = "2024-01-01T00:00:00Z", **changes: Any) -> dict[str, Any]:
    request = {"method": "POST", "url": URL, "postData": {"text": '{"appType":"EXTERNAL"}'}}
    answer = {"status": 200, "content": {"text": '{"status":"Available","sessionId":"S","visitorId":"V"}'}}
    made: dict[str, Any] = {"startedDateTime": started, "time": 12, "request": request, "response": answer}
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            made[outer][inner] = value
        else:
            made[outer] = value
    return made


def trace_file(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def said(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """What a command says on stderr, which is one line, with its exit code."""
    assert run_command(["trace", *map(str, arguments)]) == code
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    return told


def test_a_year_that_no_trace_can_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times after 2115 are none: exit 2 with file and place, in logs and in HAR files."""
    log = tmp_path / "y.log"
    log.write_text(log_line("31/Dec/9999:23:59:59 -0100"))
    line = f"harness: error: {log}:1: its time is none; --on-bad-line skip leaves such lines out"
    assert said(capsys, 2, "import", "access-log", log) == line
    path = har(tmp_path, entry("9999-12-31T23:59:59.000-01:00"))
    assert f"{path}: entry 1: startedDateTime is no time" in said(capsys, 2, "import", "har", path)


@pytest.mark.parametrize(
    ("unit", "duration", "sound"), [("s", 5e11, False), ("s", 3e8, True), ("ns", 5e11, True), ("ms", 1e300, False)]
)
def test_a_duration_that_no_number_holds(
    unit: str, duration: float, sound: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls of more than ten years are bad lines, though they would overflow only when they are sorted on disk."""
    (tmp_path / "m.toml").write_text(f'time="t"\nvisitor="u"\nduration="d"\nduration_unit="{unit}"\n')
    events = tmp_path / "e.jsonl"
    events.write_text(json.dumps({"t": 4e9, "u": "a", "d": duration}) + "\n")
    code = run_command(["trace", "import", "jsonl", str(events), "--map", str(tmp_path / "m.toml"), "-o", "/dev/null"])
    told = capsys.readouterr().err
    assert (code, f"{events}:1: its duration at d is more than ten years" in told) == (
        (0, False) if sound else (2, True)
    )


@pytest.mark.parametrize("speed", ["nan", "1e-300", "inf", "1e10"])
def test_speeds_that_are_none(speed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no number or far from any use is refused with the option's name."""
    path = trace_file(tmp_path, {"harness_trace": 1, "span_s": 5}, VISIT)
    assert "harness: error: --speed " in said(capsys, 2, "warp", path, "--speed", speed)


@pytest.mark.parametrize("lie", [{"span_s": 1e308}, {"span_s": -1}, {"visits": -1}])
def test_headers_that_cannot_be(lie: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A header with a span beyond ten years or fewer than no visits is none, for validate as for the others."""
    path = trace_file(tmp_path, {"harness_trace": 1, **lie}, VISIT)
    for command in (["validate", path], ["warp", path, "--speed", "2"]):
        assert said(capsys, 2, *command).startswith(f"harness: error: {path}:1: not a trace header (Expected `")


def test_a_slower_trace_promises_no_span_that_it_may_not_have(tmp_path: Path) -> None:
    """Where the header's span would become too long, which no visit says, it is left out, and the trace is sound."""
    path, slow = trace_file(tmp_path, {"harness_trace": 1, "span_s": 3e8}, VISIT), tmp_path / "slow.jsonl"
    assert run_command(["trace", "warp", str(path), "--speed", "0.5", "-o", str(slow)]) == 0
    assert run_command(["trace", "validate", str(slow)]) == 0


def test_visits_too_far_apart_for_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An import whose visits span more than ten years says which, and writes nothing that validate would refuse."""
    log, output = tmp_path / "a.log", tmp_path / "o.jsonl"
    log.write_text(log_line("17/May/2005:10:05:03 +0000") + log_line("18/May/2015:10:05:03 +0000", "5.6.7.8"))
    told = said(capsys, 2, "import", "access-log", log, "-o", output)
    assert "visit 2 (2015-05-18T10:05:03Z) comes or pauses more than ten years after the first (2005-05-17T10" in told
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.log"]


def test_a_repeated_id_is_counted(tmp_path: Path) -> None:
    """A GoReplay call whose ID comes again before its reply does not vanish without a word."""
    head = f"POST {URL[18:]} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}"
    path = tmp_path / "r.gor"
    path.write_bytes(b"".join(f"1 same {10**18 + n}\n{head}".encode() + SEPARATOR for n in range(3)))
    files = GorFiles([path], BadLines())
    assert len(list(files)) == 1
    assert files.left_out == {"call without a reply before its ID came again": 2}


def test_reasons_are_told_when_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An import that found nothing says what it found instead."""
    path = har(tmp_path, entry(request__method="OPTIONS"), entry(request__url="https://x/y"))
    told = said(capsys, 2, "import", "har", path)
    assert told.endswith("nothing was written; 2 entries, left out: 1 preflight, 1 other request")
    log = tmp_path / "a.log"
    log.write_text('1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a.css HTTP/1.1" 200 1 "-" "Firefox"\nnonsense\n')
    told = said(capsys, 2, "import", "access-log", log, "--on-bad-line", "skip")
    assert f"nothing was written; 2 lines, left out: 1 asset, 1 bad ones (the first: {log}:2: not in" in told


@pytest.mark.parametrize(
    "log_format",
    [
        '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{user-AGENT}i"',
        r"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\"",
        '$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "-" "$http_User_Agent"',
    ],
)
def test_formats_as_they_are_pasted(log_format: str) -> None:
    """Names of headers in any capitals, quotation marks as the configuration has them."""
    assert line_reader(log_format)(log_line("17/May/2015:10:05:03 +0000").strip().encode()).agent == AGENT.encode()


@pytest.mark.parametrize(
    "stamp",
    [
        "99/May/2015:10:05:03 +0000",
        "31/Feb/2015:10:05:03 +0000",
        "00/May/2015:10:05:03 +0000",
        "17/May/2015:24:05:03 +0000",
        "17/May/2015:10:60:03 +0000",
        "17/May/2015:10:05:99 +0000",
        "17/May/2015:10:05:03 +9999",
        "17/May/2015:10:05:03 +0060",
    ],
)
def test_times_that_are_none(stamp: str) -> None:
    """Days, hours, minutes, seconds and zones that do not exist make no time, in whichever format."""
    for reader in (line_reader("combined"), line_reader('%h %l %u %t "%r" %>s %b')):
        for line in (log_line(stamp), log_line(stamp).replace('"-"', r'"\""')):
            with pytest.raises(NoLogLine, match="its time is none"):
                reader(line.encode())
    assert line_reader("combined")(log_line("29/Feb/2016:23:59:60 +1400").encode()).at_ns == 1_456_740_000 * 10**9


def test_places_where_files_are_cut_off(tmp_path: Path) -> None:
    """A file that ends too early is told with the place, in bytes of what it says."""
    content = har(tmp_path, *[entry()] * 500).read_bytes()
    cut = tmp_path / "cut.har.gz"
    cut.write_bytes(gzip.compress(content)[:-40])
    with pytest.raises(TraceError, match=r"cut off after byte [0-9]{4,} of its content"):
        list(HarFiles([cut], BadLines()))
    with pytest.raises(TraceError, match=r"cut off after byte [0-9]{4,} of its content"):
        list(GorFiles([cut], BadLines()))
    short = tmp_path / "short.har"
    short.write_bytes(content[:1000])
    with pytest.raises(TraceError, match=r"short.har: not a HAR file: .*\(byte 1000\)"):
        list(HarFiles([short], BadLines()))


def test_loose_har_files(tmp_path: Path) -> None:
    """Nulls and texts where others write lists and numbers end no import; entries without a URL are counted."""
    entries = [
        entry(request__headers=None),
        entry(response__status=None),
        entry(time="12"),
        entry(time="soon"),
        {"request": {"method": "GET"}},
        {"startedDateTime": "x"},
        entry(request__url=None),
    ]
    files = HarFiles([har(tmp_path, *entries)], BadLines())
    found = [(each.result, (each.done_ns - each.began_ns) // 10**6) for each in files]
    assert found == [("available", 12), ("", 12), ("available", 12), ("available", 0)]
    assert files.left_out == {"entry without a URL": 3}


def test_recorded_traces_are_their_owners_alone(tmp_path: Path) -> None:
    """What visitors sent is written so that nobody else can read it."""
    output = tmp_path / "o.jsonl"
    assert run_command(["trace", "import", "har", str(har(tmp_path, entry())), "-o", str(output)]) == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_keys_that_differ_give_other_tokens() -> None:
    """A NUL at the end of a key counts, long keys are keys; tokens of ordinary keys are what they always were."""
    keys = [b"a key", b"a key\0", b"a key\0\0", b"a" * 64, b"a" * 65, b"a" * 1000, b"\0", b"\0\0"]
    assert len({Pseudonyms(key).token("Thomas") for key in keys}) == len(keys)
    assert Pseudonyms(b"a key").token("Thomas") == "nxpnrmdcnhcttrtc"


@pytest.mark.parametrize(
    "change",
    [
        {"visit": "ann@example.com O'Brien"},
        {"cohort": "ann@example.com"},
        {"at": -4711},
        {"steps": [{"op": "ann@example.com"}]},
        {"steps": [{"op": "update", "think": -4711}]},
        {"steps": []},
        {"steps": "ann@example.com"},
    ],
)
@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_anonymize_quotes_nothing(
    change: dict[str, Any], policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with a line is said without a value of it: messages get into logs and tickets."""
    path = trace_file(tmp_path, {"harness_trace": 1}, VISIT, {**VISIT, "visit": "w", "at": 1, **change})
    (tmp_path / "key").write_bytes(b"k" * 20)
    output = tmp_path / "out"
    arguments = ["trace", "anonymize", path, output, "--key-file", tmp_path / "key", "--on-bad-line", policy]
    assert run_command([str(each) for each in arguments]) == (2 if policy == "fail" else 0)
    told = capsys.readouterr().err
    assert f"{path}:3: " in told
    assert "cannot be used: harness trace validate shows why" in told
    assert not any(word in told for word in ("ann@", "Brien", "4711"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_nothing_behind(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: one line, exit code 130, no partial file, the old one whole."""

    def lines(self: object, arrivals: object, number_: int = 0) -> Iterator[bytes]:
        yield b"{}"
        assert [each.name[:2] for each in tmp_path.glob(".*.partial")] == [".o"]
        signal.raise_signal(number)
        yield b"{}"

    monkeypatch.setattr("harness.trace.traffic.synth.Synthesiser.lines", lines)
    output = tmp_path / "o.jsonl"
    output.write_text("old")
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
    assert said(capsys, 130, "synth", "bank", "--visits", "3", "-o", output) == "harness: interrupted"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("o.jsonl", "old")]
    assert handlers == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)]
