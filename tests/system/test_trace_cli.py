"""`harness trace` as a user runs it: results, messages and exit codes of real processes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.trace.codec import read_visits
from harness.trace.digest import trace_digest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "fixtures" / "small.jsonl"
COMMAND = [sys.executable, "-m", "harness", "trace"]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0"


def trace(*arguments: str | Path, stdin: bytes = b"", cwd: Path = ROOT) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `harness trace ARGUMENTS`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, cwd=cwd, env=environment, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def log_line(second: int, path: str = "/", address: str = "192.0.2.1", agent: str = BROWSER) -> str:
    return f'{address} - - [17/May/2015:10:05:{second:02d} +0000] "GET {path} HTTP/1.1" 200 1 "-" "{agent}"\n'


def test_validate_a_sound_trace() -> None:
    """A sound trace exits with 0 and its totals, from a file or from standard input, as text or as JSON."""
    digest = trace_digest(SMALL)
    assert trace("validate", "fixtures/small.jsonl") == (
        0,
        f"fixtures/small.jsonl: 20 visits, 37 steps, 0 bad lines, 0 warnings, {digest}\n",
        "",
    )
    code, out, err = trace("validate", "-", "--json", stdin=gzip.compress(SMALL.read_bytes()))
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "trace": "stdin", "visits": 20, "steps": 37, "bad_lines": 0, "warnings": 0, "digest": digest,
        "problems": [],
    }  # fmt: skip


def test_bad_lines_fail_or_are_skipped(tmp_path: Path) -> None:
    """Bad lines exit with 2 and a line that names file, line and reason; skipped, they are counted."""
    lines = SMALL.read_bytes().splitlines(keepends=True)
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"".join([*lines[:3], b"{oops\n", *lines[3:5], lines[4]]))
    code, out, err = trace("validate", path)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(f"harness: error: {path}:4: not a visit: ")
    assert err.splitlines()[0].endswith("(and 1 more bad lines)")
    code, out, err = trace("validate", path, "--on-bad-line", "skip")
    assert (code, out.split(", sha256")[0]) == (0, f"{path}: 4 visits, 7 steps, 2 bad lines, 2 warnings")
    assert f"{path}:7: visit: 'v-04' stands here twice: ids of visits must differ" in err.splitlines()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the trace is empty: the first line must be like"),
        (b'{"harness_trace":1}\n', "the trace holds no usable visit"),
        (gzip.compress(SMALL.read_bytes())[:-20], "the compressed file is cut off"),
        (b"PK\x03\x04\0\0\n", ":1: the line holds a NUL byte"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "stat"])
def test_unusable_files_are_one_line(tmp_path: Path, command: str, content: bytes, message: str) -> None:
    """Empty, cut off and foreign files end with exit code 2 and one line, without a traceback."""
    path = tmp_path / "t"
    path.write_bytes(content)
    code, out, err = trace(command, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"harness: error: {path}")
    assert message in err


def test_missing_file() -> None:
    """A file that is not there is told by name, with exit code 2."""
    line = "harness: error: no.jsonl: cannot be read: No such file or directory; see that the path is right\n"
    assert trace("stat", "no.jsonl") == (2, "", line)


def test_validate_tells_all_problems_of_a_line(tmp_path: Path) -> None:
    """Every problem of every bad line, as text and, whatever the exit code, as JSON; warnings beside them."""
    path = tmp_path / "t"
    step = {"op": "get_engagement", "think": -5, "identity": "chain", "request": {"appType": "NONE"}}
    visit = {"visit": "a b", "visitor": "p", "at": -1, "cohort": "x", "steps": [step]}
    sound = visit | {"visit": "a", "at": 1, "steps": [step | {"think": 0, "request": {"appType": "EXTERNAL"}}]}
    path.write_text("\n".join(map(json.dumps, ({"harness_trace": 1}, visit, sound))) + "\n{oops\n")
    code, out, err = trace("validate", path)
    assert (code, out) == (2, "")
    where = [line.split(f"{path}:")[1].split(": ")[:2] for line in err.splitlines()]
    assert [[*map(str, place)] for place in where] == [
        ["2", "visit"], ["2", "at"], ["2", "steps[0].think"], ["2", "steps[0].request.appType"], ["4", "not a visit"],
    ]  # fmt: skip
    code, out, _ = trace("validate", path, "--json")
    told = json.loads(out)
    assert (code, told["visits"], told["bad_lines"], told["warnings"]) == (2, 1, 2, 1)
    assert [problem["severity"] for problem in told["problems"]] == ["error"] * 5 + ["warning"]
    assert f"{path}:3: steps[0].identity: chain, but no step comes before" in told["problems"][-1]["message"]


def test_validate_says_in_json_what_ended_the_reading(tmp_path: Path) -> None:
    """A file that is no trace at all: the same line in `problems` as on stderr."""
    (tmp_path / "t").write_text("")
    code, out, err = trace("validate", tmp_path / "t", "--json")
    [problem] = json.loads(out)["problems"]
    assert (code, err) == (2, f"harness: error: {problem['message']}\n")


def test_head_is_a_trace_again() -> None:
    """`head` writes a shorter trace to stdout that `validate` accepts without remark about its visits."""
    code, out, err = trace("head", SMALL, "-n", "3")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == SMALL.read_text().splitlines()[1:4]
    code, _, err = trace("validate", "-", stdin=out.encode())
    assert (code, [line.split(": ", 1)[1] for line in err.splitlines()]) == (
        0,
        ["returns: the visitor never comes again: its vid is remembered for nothing"],
    )


def test_stat_as_text_and_json() -> None:
    """`stat` gives the same numbers to people and to programs."""
    code, out, _ = trace("stat", SMALL)
    assert (code, out.splitlines()[1]) == (0, "visits       20 by 18 visitors, 2 come again")
    numbers = json.loads(trace("stat", SMALL, "--json")[1])
    assert numbers["schema"] == "harness.trace-stat/1"
    assert (numbers["steps"], numbers["ops"]) == (37, {"get_engagement": 31, "update": 6})


def test_import_access_log(tmp_path: Path) -> None:
    """A log becomes a valid trace on stdout; what was left out is told on stderr; no address or agent is written."""
    log = [log_line(3), log_line(1), log_line(9, "/next"), log_line(5, address="192.0.2.7"), log_line(2, "/a.css")]
    code, out, err = trace("import", "access-log", "-", stdin="".join(log).encode())
    assert (code, err) == (0, "5 access-log lines: 4 steps in 2 visits; left out: 1 asset\n")
    visits = [json.loads(line) for line in out.splitlines()[1:]]
    assert [(visit["at"], [step["think"] for step in visit["steps"]]) for visit in visits] == [(0, [0, 2, 6]), (4, [0])]
    assert "192.0.2" not in out
    assert "Firefox" not in out
    assert trace("validate", "-", stdin=out.encode())[0] == 0


def test_import_repeats_with_a_key(tmp_path: Path) -> None:
    """With a key file the same log gives the same bytes; without one, other pseudonyms each time."""
    log = tmp_path / "log"
    log.write_text(log_line(1))
    key = tmp_path / "key"
    key.write_text("secret\n")
    outputs = [trace("import", "access-log", log, "--key-file", key)[1] for _ in range(2)]
    fresh = [trace("import", "access-log", log)[1] for _ in range(2)]
    assert outputs[0] == outputs[1]
    assert len({*outputs, *fresh}) == 3


def test_import_into_a_file(tmp_path: Path) -> None:
    """`-o` writes a compressed file, whole; a failing import leaves nothing behind."""
    (tmp_path / "log").write_text(log_line(1) + "rubbish\n")
    code, out, err = trace("import", "access-log", "log", "-o", "t.jsonl.zst", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("harness: error: log:2: not in combined log format")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log"]
    arguments = ("import", "access-log", "log", "-o", "t.jsonl.zst", "--on-bad-line", "skip")
    code, out, err = trace(*arguments, cwd=tmp_path)
    assert (code, out) == (0, "")
    assert err.splitlines()[1].startswith("1 bad lines skipped; the first: log:2: not in combined log format")
    assert [read.visit.cohort for read in read_visits(tmp_path / "t.jsonl.zst")[1]] == ["desktop"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "pcap", "x"), "'pcap' is not one of 'access-log', 'har', 'gor', 'jsonl'"),
        (("import", "har", "x", "--format", "json"), "--format is for access-log, not for har"),
        (("import", "jsonl", "x"), "jsonl needs --map TOML"),
        (("import", "access-log", "x", "--gap", "soon"), "'soon' is not a duration"),
        (("import", "access-log", "x", "--format", "$status"), "has no address and no time and no request"),
        (("import", "access-log", "x", "--key-file", "nokey"), "--key-file nokey: cannot be read"),
        (("head", "fixtures/small.jsonl", "-o", "no/such/t.jsonl"), "no/such/t.jsonl: cannot be written"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    """A wrong option ends with exit code 2 and says what is wrong."""
    code, out, err = trace(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Validating 64 MB takes hardly more memory than validating one visit: lines are read one at a time."""
    peaks_kb = []
    for count in (1, 1000):
        path = tmp_path / f"{count}.jsonl.gz"
        with gzip.open(path, "wb", compresslevel=1) as stream:
            stream.write(b'{"harness_trace":1}\n')
            for number in range(count):
                request = b'{"appType":"EXTERNAL","consumerSections":["%s"]}' % (b"x" * 64_000)
                step = b'{"op":"get_engagement","identity":"fresh","request":%s}' % request
                stream.write(b'{"visit":"v%d","visitor":"u","at":0,"steps":[%s]}\n' % (number, step))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen([*COMMAND, "validate", str(path)], stdout=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        peaks_kb.append(usage.ru_maxrss)
    assert peaks_kb[1] - peaks_kb[0] < 8_000
