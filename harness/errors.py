"""The exception tree and the exit codes (interfaces: "Exit codes").

Every error that a user can cause or meet is a `HarnessError`: it carries one line that says what went
wrong, where, and what to do, and the exit code the command ends with. Anything else that escapes is a
bug of ours and ends with `ExitCode.INTERNAL`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command tells its caller; others' scripts depend on these numbers."""

    PASS = 0
    INTERNAL = 1
    USAGE = 2
    FAIL_SLO = 3
    FAIL_REGRESSION = 4
    INVALID = 5
    GUARD = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


class HarnessError(Exception):
    """An error with one clear line for the user and a documented exit code."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UsageError(HarnessError):
    """The command line, a profile, an SLO file or a trace is wrong; `problems` lists every finding at once."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class TraceError(UsageError):
    """A trace file cannot be used; the message names file and line."""


class GuardError(HarnessError):
    """A guard-rail refused or ended the run."""

    exit_code = ExitCode.GUARD


class LeakError(GuardError):
    """What had to go stands in an output, which was therefore not written; `problems` names further places."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UnreachableError(HarnessError):
    """The target gave not one reply."""

    exit_code = ExitCode.UNREACHABLE


class StorageError(HarnessError):
    """The run folder cannot be written (disk full, permission); what was measured is still reported."""

    exit_code = ExitCode.INTERNAL


class InstrumentError(HarnessError):
    """The instrument could not be set up or did not hold: says nothing about the target."""

    exit_code = ExitCode.INVALID


class InternalError(HarnessError):
    """A bug of ours, mapped to one line at the command's door; the cause is kept."""
