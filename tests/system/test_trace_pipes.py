"""Commands that make traces of traces, as a user joins them: pipes, compression by name, exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness.cli.main import run_command
from harness.trace.codec import open_trace
from tests.system.test_trace_cli import ROOT, trace

pytestmark = pytest.mark.system

DEMO = ROOT / "fixtures" / "demo.jsonl.gz"
KEY = "a key of more than sixteen bytes"
KEEP_SECTIONS = '[fields]\nconsumerSections = "keep"\n'


def lines_of(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_chain_of_pipes(tmp_path: Path) -> None:
    """sample, slice, warp, merge and anonymize read each other's output; what comes out at the end is a valid trace."""
    (tmp_path / "key").write_text(KEY)
    code, sampled, err = trace("sample", "-", "--fraction", "0.5", stdin=DEMO.read_bytes())
    assert (code, err.split()[1:]) == (0, ["of", "1500", "visits"])
    code, sliced, err = trace("slice", "-", "--from", "10s", "--to", "30s", stdin=gzip.compress(sampled.encode()))
    assert (code, err.split("; ")[0]) == (0, f"{len(sliced.splitlines()) - 1} visits")
    code, warped, err = trace("warp", "-", "--speed", "2", stdin=sliced.encode())
    assert code == 0
    assert "open at the peak" in err
    code, merged, err = trace("merge", "-", DEMO, stdin=warped.encode())
    assert (code, err.split(" visits: ")[1]) == (
        0,
        f"{len(warped.splitlines()) - 1} of stdin (m1.), 1500 of {DEMO} (m2.)\n",
    )
    target = tmp_path / "clean.jsonl.gz"
    code, out, err = trace("anonymize", "-", target, "--key-file", tmp_path / "key", stdin=merged.encode())
    assert (code, out, err.split("; ")[-1]) == (
        0, "", "leak scan: 0 kept texts searched, none holds a value that had to go\n",
    )  # fmt: skip
    assert target.read_bytes()[:2] == b"\x1f\x8b"
    header, lines = open_trace(target)
    assert (header.anonymized, header.source, sum(1 for _ in lines)) == (
        True,
        "anonymized",
        len(merged.splitlines()) - 1,
    )
    code, out, err = trace("validate", target)
    assert (code, [line for line in err.splitlines() if "returns" in line and "never comes again" in line]) == (0, [])
    times = [visit["at"] for visit in lines_of(warped)[1:]]
    assert times == [round(visit["at"] / 2, 9) for visit in lines_of(sliced)[1:]]  # type: ignore[operator]


def test_a_leak_ends_with_6_and_leaves_nothing(tmp_path: Path) -> None:
    """A kept text that holds a personal value: exit code 6, both places, not the value, no byte written anywhere."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "policy.toml").write_text(KEEP_SECTIONS)
    request = {
        "consumerSections": ["shoes", "orders of Cunegonde"],
        "engagementAttributes": [{"type": "personal", "personal": {"firstname": "Cunegonde"}}],
    }
    visit = {"visit": "v1", "visitor": "u1", "at": 0, "steps": [{"op": "get_engagement", "request": request}]}
    content = f'{{"harness_trace":1}}\n{json.dumps(visit)}\n'.encode()
    (tmp_path / "in").write_bytes(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    options = ("--key-file", "key", "--policy", "policy.toml")
    for source, name, target in (("in", "in", "out.jsonl"), ("-", "stdin", "-")):
        code, out, err = trace("anonymize", source, target, *options, stdin=content, cwd=tmp_path)
        assert (code, out) == (6, "")
        place = f"harness: error: {name}:2: a text of 9 characters stands in line 2 of the output"
        assert err.startswith(place)
        assert "unegonde" not in err
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    (tmp_path / "policy.toml").write_text(f'public = ["Cunegonde"]\n{KEEP_SECTIONS}')
    code, out, _ = trace("anonymize", "-", "-", *options, stdin=content, cwd=tmp_path)
    assert (code, json.loads(out.splitlines()[1])["steps"][0]["request"]["consumerSections"]) == (
        0, ["shoes", "orders of Cunegonde"],
    )  # fmt: skip


def test_messages_speak_of_stdin_when_it_was_copied(tmp_path: Path) -> None:
    """Standard input that must be read twice is still called stdin where something is wrong with it."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "policy.toml").write_text(KEEP_SECTIONS)
    options = ("anonymize", "-", "--key-file", "key", "--policy", "policy.toml")
    code, out, err = trace(*options, stdin=b'{"harness_trace":1}\noops\n', cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("harness: error: stdin:2: not a visit: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("slice", "x", "--from", "30s", "--to", "10s"), "--from 30s --to 10s: the slice ends before it begins"),
        (("slice", "x", "--from", "soon"), "'soon' is not a duration"),
        (("sample", "x", "--fraction", "0"), "0.0 is not in the range 0<x<=1"),
        (("sample", "x"), "Missing option '--fraction'"),
        (("warp", "x", "--speed", "0"), "0.0 is not in the range x>0"),
        (("warp", str(DEMO), "--speed", "1e-8", "-o", "never"), ":137: at: more than ten years after the start at"),
        (("merge", "-", "-"), "standard input can be merged once only"),
        (("merge",), "Missing argument 'TRACE...'"),
        (("slice", str(DEMO), "--from", "1h", "-o", "never"), ": none of the 1500 visits read begins in the slice"),
        (("sample", str(DEMO), "--fraction", "1e-9", "-o", "never"), ": no visitor is in the sample: nothing was"),
        (("anonymize", "x", "y"), "Missing option '--key-file'"),
        (("anonymize", "x", "y", "--key-file", "nokey"), "--key-file nokey: cannot be read: No such file or directory"),
        (("head", "no.jsonl", "-o", "never"), "no.jsonl: cannot be read: No such file or directory"),
        (("stat", str(DEMO), "--on-bad-line", "maybe"), "'maybe' is not one of 'fail', 'skip'"),
    ],
)  # fmt: skip
def test_wrong_usage(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever is wrong is one line with exit code 2, and nothing appears."""
    monkeypatch.chdir(tmp_path)
    assert run_command(["trace", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_name_too_long_for_its_tag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A visit whose name has no room for the tag is a bad line of its file, and so are cohorts beyond the twentieth."""
    step = {"op": "get_engagement", "identity": "fresh"}
    visits = [
        {"visit": "v" * length, "visitor": "u", "at": 0, "cohort": f"c{length}", "steps": [step]}
        for length in range(56, 79)
    ]
    path = tmp_path / "in"
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"harness_trace": 1}, *visits[-2:]]))
    assert run_command(["trace", "merge", str(path), "-o", str(tmp_path / "out")]) == 2
    line = f"harness: error: {path}:3: visit: with m1. before it longer than 80 characters"
    assert capsys.readouterr().err == f"{line}; --on-bad-line skip leaves such lines out\n"
    other = tmp_path / "other"
    for name, some in ((path, visits[:15]), (other, visits[5:21])):
        name.write_text("".join(json.dumps(line) + "\n" for line in [{"harness_trace": 1}, *some]))
    options = ["-o", str(tmp_path / "out"), "--on-bad-line", "skip"]
    assert run_command(["trace", "merge", str(path), str(other), *options]) == 0
    err = capsys.readouterr().err
    assert (
        err.splitlines()[1]
        == f"1 bad lines skipped; the first: {other}:17: cohort: more than 20 in all sources together"
    )
