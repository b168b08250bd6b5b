"""`harness trace import` as a user runs it, on files that are sound and on files that mean harm."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import run_command
from tests.system.recording import visits_of

pytestmark = pytest.mark.system

BASE = "/api/account/12345678/app/engagement/visitors"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0"
SEPARATOR = "\n🐵🙈🙉\n"


def har_entry(at: str, target: str, body: dict[str, Any], reply: dict[str, Any], status: int = 200) -> dict[str, Any]:
    request = {
        "method": "POST",
        "url": f"https://x.example{target}",
        "headers": [],
        "postData": {"text": json.dumps(body)},
    }
    response = {"status": status, "content": {"text": json.dumps(reply)}}
    return {"startedDateTime": at, "time": 100, "request": request, "response": response}


def har(*entries: object) -> bytes:
    return json.dumps({"log": {"entries": entries}}).encode()


def gor_request(key: str, at_ns: int, target: str, body: str) -> str:
    return f"1 {key} {at_ns}\nPOST {target} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}{SEPARATOR}"


def gor_reply(key: str, at_ns: int, body: str) -> str:
    return f"2 {key} {at_ns} 0\nHTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}{SEPARATOR}"


OK = {"status": "NotAvailable", "visitorId": "V", "sessionId": "S", "pageId": "1"}
GONE = {"time": 1, "message": "Unexpected error", "internalCode": 18}
SOUND_HAR = har(
    har_entry("2024-03-01T10:00:00.000Z", f"{BASE}/?v=1.0", {"appType": "EXTERNAL"}, GONE, 500),
    har_entry("2024-03-01T10:00:00.200Z", f"{BASE}/?v=1.0", {"appType": "EXTERNAL"}, OK),
    har_entry("2024-03-01T10:00:30.300Z", f"{BASE}/V?v=1.0&sid=S", {"appType": "EXTERNAL"}, OK),
)
SOUND_GOR = (
    gor_request("a", 10**18, f"{BASE}/?v=1.0", '{"appType":"EXTERNAL"}')
    + gor_reply("a", 10**18 + 10**8, json.dumps(OK))
    + gor_request("b", 10**18 + 30 * 10**9 + 10**8, f"{BASE}/V?v=1.0&sid=S", '{"appType":"EXTERNAL"}')
    + gor_reply("b", 10**18 + 31 * 10**9, json.dumps(OK))
).encode()
SOUND_LOG = "".join(
    f'192.0.2.1 - - [01/Mar/2024:10:00:{second:02d} +0000] "GET /{second} HTTP/1.1" 200 1 "-" "{AGENT}"\n'
    for second in (0, 30)
).encode()
SOUND_JSONL = b'{"t":1700000000,"u":1}\n{"t":1700000030,"u":1}\n'
MAPPING = 'time = "t"\nvisitor = "u"\n'
SOUND = {"har": SOUND_HAR, "gor": SOUND_GOR, "access-log": SOUND_LOG, "jsonl": SOUND_JSONL}


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a `harness` command, in this process: a hundred children would cost minutes."""
    code = run_command(arguments)
    return code, *capsys.readouterr()


def options(kind: str, folder: Path) -> list[str]:
    if kind != "jsonl":
        return []
    (folder / "map.toml").write_text(MAPPING)
    return ["--map", str(folder / "map.toml")]


@pytest.mark.parametrize("kind", SOUND)
def test_each_kind_from_packed_files(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same two page views, 30 s apart, from each kind of file, packed: one visit that validates; retries folded."""
    source, out = tmp_path / "source.gz", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(SOUND[kind]))
    code, _, said = command(capsys, "trace", "import", kind, str(source), "-o", str(out), *options(kind, tmp_path))
    assert code == 0, said
    [visit] = visits_of(out)
    assert [(step["identity"], step["think"]) for step in visit["steps"]] == [("fresh", 0), ("chain", 30)]
    assert "2 steps in 1 visits; left out: nothing" in said
    assert ("1 of 3 calls were folded" in said) == (kind == "har")
    assert not {"V", "S", "192.0.2.1", AGENT} & set(out.read_text().split('"'))
    code, shown, said = command(capsys, "trace", "validate", str(out))
    assert (code, ", 0 warnings" in shown) == (0, True), said


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda sound: gzip.compress(sound * 50)[:-30],
    "damaged": lambda sound: gzip.compress(sound * 50)[:40] + b"\xff" * 60,
    "one line of 50 MB": lambda sound: gzip.compress(sound + b"x" * 50_000_000, 1),
    "NUL bytes": lambda sound: sound + b"\0\0\0\0 \0\n",
    "another encoding": lambda sound: "über".encode("utf-16") + sound,
    "deep nesting": lambda sound: sound + b"[" * 200_000,
    "nothing": lambda sound: b"",
    "the head of a zip": lambda sound: b"PK\x03\x04" + sound[:20],
}
# What is said about it behind the file's name: by all kinds alike, by those that read lines, and for GoReplay.
SAID = {"cut off": ": the compressed file is cut off", "damaged": ": the compressed file is "}
LINES = {
    "one line of 50 MB": ":3: the line is longer than 8 MiB",
    "NUL bytes": ":3: the line holds a NUL byte",
    "another encoding": ":1: ",
    "deep nesting": ":3: ",
    "the head of a zip": ":1: ",
}
RECORDS = {
    "one line of 50 MB": ": byte ",
    "NUL bytes": ": record 5",
    "another encoding": ": record 1",
    "deep nesting": ": record 5",
}


def expected(kind: str, what: str) -> str:
    """How the line about a hostile file goes on behind the file's name."""
    if kind == "har":
        return SAID.get(what, ": not a HAR file")
    return SAID.get(what) or (RECORDS if kind == "gor" else LINES).get(what, ": ")


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind in SOUND for what in HOSTILE])
def test_hostile_files_leave_nothing_behind(
    tmp_path: Path, kind: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with a file: one line with its name and the place, exit 2, and no output under any name."""
    source, folder = tmp_path / "source", tmp_path / "out"
    source.write_bytes(HOSTILE[what](SOUND[kind]))
    folder.mkdir()
    output = ("-o", str(folder / "t.jsonl"), *options(kind, tmp_path))
    code, _, said = command(capsys, "trace", "import", kind, str(source), *output)
    assert (code, said.count("\n")) == (2, 1), said
    if (kind, what) == ("access-log", "nothing"):
        assert said.startswith(f"harness: error: {source}: no page view of a person and no engagement call")
    else:
        assert said.startswith(f"harness: error: {source}{expected(kind, what)}"), said
    assert list(folder.iterdir()) == []


def test_entries_that_are_missing_parts_can_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HAR entries with missing parts or impossible times are skipped if asked for, those without a URL anyway."""
    entries = json.loads(SOUND_HAR)["log"]["entries"]
    broken: list[Any] = [{**entries[1]} for _ in range(4)]
    del broken[0]["request"]
    broken[1]["startedDateTime"] = "-0001-01-01"
    broken[2]["request"] = {**entries[1]["request"], "method": 5}
    del broken[3]["startedDateTime"]
    source, out = tmp_path / "a.har", tmp_path / "t.jsonl"
    source.write_bytes(har(*broken, *entries))
    arguments = ("trace", "import", "har", str(source), "-o", str(out))
    code, _, said = command(capsys, *arguments)
    assert (code, f"{source}: entry 2: " in said, out.exists()) == (2, True, False), said
    code, _, said = command(capsys, *arguments, "--on-bad-line", "skip")
    assert code == 0, said
    assert "3 bad lines skipped; the first: " in said
    assert "left out: 1 entry without a URL" in said
    assert [len(visit["steps"]) for visit in visits_of(out)] == [2]
