"""Hostile traces in every command that reads one: one line that names file and place, exit code 2, nothing left behind.

The commands run in this process, through the same door as from a shell; what a process adds is in test_trace_cli.py.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from harness.cli.main import run_command

HEADER = b'{"harness_trace":1,"source":"s"}\n'
SOUND = b'{"visit":"%s","visitor":"u","at":%s,"steps":[{"op":"get_engagement","identity":"fresh","request":%s}]}\n'


def visit(name: bytes = b"v1", at: bytes = b"1", request: bytes = b'{"appType":"EXTERNAL"}') -> bytes:
    return SOUND % (name, at, request)


def nested(depth: int) -> bytes:
    return b'{"appType":' + b"[" * depth + b"]" * depth + b"}"


MANY = HEADER + b"".join(visit(b"v%d" % number, b"%d" % number) for number in range(2000))
HUGE = visit(request=b'{"consumerSections":["%s"]}' % (b"x" * (50 << 20)))

# File name -> content, and what the one line must say after the file's name.
HOSTILE: dict[str, tuple[bytes, str]] = {
    "cut.gz": (gzip.compress(MANY)[:-2000], ": the compressed file is cut off"),
    "cut.zst": (zstandard.compress(MANY)[:-50], ": the compressed file is cut off"),
    "damaged.gz": (gzip.compress(MANY, 1)[:-4] + b"\0\0\0\0", ": the compressed file is damaged"),
    "long": (HEADER + visit() + HUGE, ":3: the line is longer than 8 MiB"),
    "long.gz": (gzip.compress(HEADER + HUGE, 1), ":2: the line is longer than 8 MiB"),
    "nul": (HEADER + visit() + visit(b"v\x002"), ":3: the line holds a NUL byte"),
    "nul-in-header": (b"\0\0" + HEADER, ":1: the line holds a NUL byte"),
    "latin1": (HEADER + visit(request='{"appType":["Fräulein"]}'.encode("latin-1")), ":2: byte 112 is not UTF-8"),
    "utf16": ((HEADER + visit()).decode().encode("utf-16"), ":1: the line holds a NUL byte"),
    "bom": (b"\xef\xbb\xbf" + HEADER + visit(), ":1: begins with a byte order mark"),
    "surrogate": (HEADER + visit(request=b'{"a":"\\ud800"}'), ":2: "),
    "negative-time": (HEADER + visit(at=b"-1"), ":2: at: -1.0 is no time"),
    "endless-time": (HEADER + visit(at=b"1e300"), ":2: at: 1e+300 is no time"),
    "infinite-time": (HEADER + visit(at=b"1e999"), ":2: not a visit: "),
    "back-in-time": (HEADER + visit(at=b"5") + visit(b"v2", b"4"), ":3: at: 4.0 comes after 5.0"),
    "negative-think": (
        HEADER + visit().replace(b'"op"', b'"think":-0.5,"op"'),
        ":2: steps[0].think: -0.5 is no think time",
    ),
    "double-visit": (HEADER + visit() + visit(at=b"2"), ":3: visit: 'v1' stands here twice"),
    "deep-1000": (HEADER + visit() + visit(b"v2", request=nested(1000)), ":3: "),
    "deep-1100": (HEADER + visit() + visit(b"v2", request=nested(1100)), ":3: "),
    "deep-200000": (HEADER + visit(request=nested(200_000)), ":2: not a visit: "),
    "infinite-number": (HEADER + visit(request=b'{"a":1e999}'), ":2: steps[0].request: "),
    "infinite-in-header": (b'{"harness_trace":1,"mine":1e999}\n' + visit(), ":1: not a trace header"),
    "no-visit": (HEADER, ": the trace holds no usable visit"),
    "empty": (b"", ": the trace is empty"),
    "no-trace": (b"PK\x03\x04 rubbish\n", ":1: not a trace header"),
    "no-steps": (HEADER + b'{"visit":"v","visitor":"u","at":0,"steps":[]}\n', ":2: steps: the visit has no step"),
    "cut-line": (HEADER + visit()[:-30], ":2: not a visit: "),
}  # fmt: skip

COMMANDS: dict[str, list[str]] = {
    "validate": ["validate"],
    "stat": ["stat", "--json"],
    "head": ["head", "-n", "5000", "-o", "out"],
    "slice": ["slice", "--from", "0", "--to", "1h", "-o", "out"],
    "sample": ["sample", "--fraction", "1", "-o", "out.gz"],
    "warp": ["warp", "--speed", "2", "--think", "-o", "out.zst"],
    "merge": ["merge", "sound", "-o", "out"],
    "anonymize": ["anonymize", "out", "--key-file", "key"],
}


LONG = {("stat", "long"), ("warp", "long"), ("validate", "long.gz"), ("anonymize", "long.gz")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the hostile files, a sound one and a key."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (content, _) in HOSTILE.items():
        (folder / name).write_bytes(content)
    (folder / "sound").write_bytes(HEADER + visit())
    (folder / "key").write_text("a key of more than sixteen bytes")
    return folder


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder as the current one; what a command left there beside it fails the test."""
    before = {path.name for path in files.iterdir()}
    monkeypatch.chdir(files)
    yield files
    assert {path.name for path in files.iterdir()} == before


def outcome(arguments: list[str], source: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that reads `source` first."""
    code = run_command(["trace", arguments[0], source, *arguments[1:]])
    return code, *capsys.readouterr()


# How findings about a visit begin, before they quote from it.
CHECKED = re.compile(r":[0-9]+: (?:at|visit|steps|steps\[0\]\.think):")
# What only anonymize looks into, for it must know what it leaves out.
UNKNOWN_KEYS = (HEADER + visit().replace(b'"visitor"', b'"mine":1e999,"visitor"'), ":2: number is infinity")

CASES = [
    (command, name)
    for command in COMMANDS
    for name in HOSTILE
    # Fifty megabytes take a second: twice in each form will do.
    if not name.startswith("long") or (command, name) in LONG
]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_hostile_file_is_one_line(command: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command ends with 2 and says where, writes nothing under the output's name and leaves nothing beside it."""
    if (command, name) == ("head", "no-visit"):
        return_code, message = 0, ""  # no visit is what was asked for
        assert outcome([*COMMANDS[command][:-1], "-"], name, capsys) == (return_code, HEADER.decode(), message)
        return
    code, out, err = outcome(COMMANDS[command], name, capsys)
    assert (code, out) == (2, "")
    said = HOSTILE[name][1]
    if command == "anonymize" and (place := CHECKED.match(said)):
        said = f"{place[0]} cannot be used"  # and no value of it
    assert err.startswith(f"harness: error: {name}{said}"), err
    assert err.count("\n") == 1
    assert len(err) < 300
    assert "Traceback" not in err


def test_unknown_keys_are_read_before_they_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number that nobody can read, under a key that nobody knows, is a bad line for anonymize."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("a key of more than sixteen bytes")
    (tmp_path / "odd").write_bytes(UNKNOWN_KEYS[0])
    code, out, err = outcome(COMMANDS["anonymize"], "odd", capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"harness: error: odd{UNKNOWN_KEYS[1]}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "odd"]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "validate"])
def test_bad_lines_can_be_skipped(
    command: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --on-bad-line skip the sound visits are used and the others counted, in every command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound").write_bytes(HEADER + visit())
    (tmp_path / "key").write_bytes((files / "key").read_bytes())
    (tmp_path / "mixed").write_bytes(
        HEADER + visit() + b"oops\n" + visit(at=b"2") + visit(b"v2", b"3") + visit(b"v3", b"2")
    )
    code, out, err = outcome([*COMMANDS[command], "--on-bad-line", "skip"], "mixed", capsys)
    assert code == 0, err
    assert "3 bad lines skipped; the first: mixed:3: not a visit: " in err or json.loads(out)["bad_lines"] == 3
    made = next((path for path in tmp_path.iterdir() if path.name.startswith("out")), None)
    if made is not None:
        code, out, _ = outcome(["validate", "--json"], made.name, capsys)
        totals = json.loads(out)
        assert (code, totals["visits"], totals["bad_lines"]) == (0, 3 if command == "merge" else 2, 0)
