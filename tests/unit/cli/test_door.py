"""The door for errors: one line on stderr, the documented exit code, no traceback."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from harness.cli import main as door
from harness.errors import ExitCode, GuardError, TraceError, UnreachableError, UsageError


def outcome(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and stderr of a command that raises `error`."""

    @click.command("fails")
    def fails() -> None:
        raise error

    monkeypatch.setitem(door.COMMANDS, "fails", ("harness.cli.main", "fails"))
    monkeypatch.setattr(door, "fails", fails, raising=False)
    code = door.run_command(["fails"])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("bad"), 2, "harness: error: bad\n"),
        (UsageError("2 problems", ["a: x", "b:\ny"]), 2, "harness: error: 2 problems\n  a: x\n  b: y\n"),
        (TraceError("t:3: no"), 2, "harness: error: t:3: no\n"),
        (GuardError("no"), 6, "harness: error: no\n"),
        (UnreachableError("gone"), 7, "harness: error: gone\n"),
        (KeyboardInterrupt(), 130, "\nharness: interrupted\n"),
        (click.BadParameter("odd"), 2, "harness: error: Invalid value: odd (see harness fails --help)\n"),
    ],
)
def test_errors_of_users(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error a user can cause is its own line, further problems indented below, with its exit code."""
    assert outcome(error, monkeypatch, capsys) == (code, text)


def test_a_bug_of_ours_keeps_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unforeseen exception is one line that names a file with the traceback."""
    code, text = outcome(ZeroDivisionError("by\nzero"), monkeypatch, capsys)
    start = "harness: internal error: ZeroDivisionError: by zero (details in "
    assert code == ExitCode.INTERNAL and text.startswith(start) and text.count("\n") == 1
    kept = Path(text.removeprefix(start).rstrip(")\n"))
    assert "ZeroDivisionError: by\nzero" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["runn"],
            "there is no command 'runn': use one of demo, run, worker, sim, trace, plan, check",
        ),
        (["--frob"], "No such option"),
        (["check", "--slo"], "requires an argument"),
        (["run", "a", "b"], "unexpected extra argument"),
        (["run", "--seed", "x", "--loop", "0"], "the configuration has 2 problems"),
        (["run"], "no trace given"),
    ],
)
def test_wrong_command_lines(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line is one line on stderr and exit code 2."""
    assert door.run_command(arguments) == ExitCode.USAGE
    first, *details = capsys.readouterr().err.splitlines()
    assert first.startswith("harness: error: ") and words in first
    assert all(line.startswith("  ") for line in details)
