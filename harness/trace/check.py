"""The rules of a trace's content, applied to one visit after the other (interfaces: "Trace file").

A finding is an error when the visit cannot be replayed as it stands, and a warning when it can, but probably not as
its author meant. Memory grows with the ids of the visits
and with the visitors that return, not with their content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from harness.errors import TraceError
from harness.trace.codec import ReadVisit, decoded, open_trace_raw
from harness.trace.intake.recorded import RECORDED_IDS
from harness.trace.known import KnownTexts
from harness.trace.lines import BadLines, source_name
from harness.trace.model import COHORT_PATTERN, ID_PATTERN, MAX_SECONDS, Step, Visit
from harness.wire.validate import check_request

MAX_COHORTS = 20

# Requests whose text is known to be JSON: so many, and none longer.
_KEPT_REQUESTS = 1_000
_KEPT_REQUEST_BYTES = 4_096

_ID = re.compile(ID_PATTERN)
_COHORT = re.compile(COHORT_PATTERN)
_ACCOUNT = re.compile(r"^[A-Za-z0-9_]{1,20}$")


class Finding(NamedTuple):
    """One thing about a visit: `path` is where in the line, `message` what, for people."""

    line: int
    severity: Literal["error", "warning"]
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {self.path}: {self.message}" if self.path else f"{self.line}: {self.message}"


class TraceChecker:
    """Judges visits in file order; what spans visits (order, double ids, cohorts, returns) is remembered here."""

    def __init__(self, *, requests: bool = True) -> None:
        """`requests` false asks of a request only that it is JSON: for those who need sound visits, quickly."""
        self._requests = requests
        self._ids = KnownTexts()
        self._cohorts: set[str] = set()
        self._parsed: set[bytes] = set()
        self._last_at = 0.0
        # Visitors that are to come again: line of the earlier visit and when it ends at the soonest.
        self._expected: dict[str, tuple[int, float]] = {}

    def check(self, line: int, visit: Visit) -> list[Finding]:
        """The findings about the next visit; one with an error leaves no mark, as if it were not in the trace."""
        errors = [Finding(line, "error", path, message) for path, message in self._errors(visit)]
        warnings: list[Finding] = []
        for index, step in enumerate(visit.steps):
            if not self._requests and self._known_json(step):
                continue
            for severity, path, message in _request_findings(step):
                found = Finding(line, severity, f"steps[{index}].request{path}", message)
                (errors if severity == "error" else warnings).append(found)
        if errors:
            return errors + warnings
        warnings += [Finding(line, "warning", path, message) for path, message in self._warnings(visit)]
        self._remember(line, visit)
        return warnings

    def _known_json(self, step: Step) -> bool:
        """Whether the request's text was parsed before; most traces say the same few things again and again."""
        text = bytes(step.request)
        if text in self._parsed:
            return True
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
        if len(self._parsed) < _KEPT_REQUESTS and len(text) <= _KEPT_REQUEST_BYTES:
            self._parsed.add(text)
        return True

    def finish(self) -> list[Finding]:
        """The findings that only the end of the trace can show."""
        return [
            Finding(line, "warning", "returns", "the visitor never comes again: its vid is remembered for nothing")
            for line, _ in self._expected.values()
        ]

    def _errors(self, visit: Visit) -> Iterator[tuple[str, str]]:
        if not _ID.fullmatch(visit.id):
            yield "visit", f"{_short(visit.id)} is no id: letters, digits and ._:- only, at most 80"
        elif visit.id in self._ids:
            yield "visit", f"{_short(visit.id)} stands here twice: ids of visits must differ"
        if not _ID.fullmatch(visit.visitor):
            yield "visitor", f"{_short(visit.visitor)} is no id: letters, digits and ._:- only, at most 80"
        if not _COHORT.fullmatch(visit.cohort):
            yield "cohort", f"{_short(visit.cohort)} is no cohort: letters, digits and ._- only, at most 32"
        elif visit.cohort not in self._cohorts and len(self._cohorts) == MAX_COHORTS:
            yield "cohort", f"{_short(visit.cohort)} is cohort number {MAX_COHORTS + 1}: at most {MAX_COHORTS}"
        if not 0 <= visit.at <= MAX_SECONDS:
            yield "at", f"{visit.at} is no time: seconds from 0 to ten years"
        elif visit.at < self._last_at:
            yield "at", f"{visit.at} comes after {self._last_at}: visits must be ordered by at"
        if not visit.steps:
            yield "steps", "the visit has no step"
        for index, step in enumerate(visit.steps):
            if not 0 <= step.think <= MAX_SECONDS:
                yield f"steps[{index}].think", f"{step.think} is no think time: seconds from 0 to ten years"

    def _warnings(self, visit: Visit) -> Iterator[tuple[str, str]]:
        if visit.account is not None and not _ACCOUNT.fullmatch(visit.account):
            yield "account", "unusual for an account: letters, digits and _ are documented, at most 20"
        if visit.steps[0].identity == "chain":
            yield "steps[0].identity", "chain, but no step comes before: the step goes out fresh"
        returning = [index for index, step in enumerate(visit.steps) if step.identity == "return"]
        earlier = self._expected.get(visit.visitor)
        if returning and earlier is None:
            yield (
                f"steps[{returning[0]}].identity",
                "return, but no earlier visit of this visitor has returns: true: the step goes out fresh",
            )
        elif returning and earlier is not None and visit.at < earlier[1]:
            yield "at", f"returns before the visit of line {earlier[0]} can have ended: its vid may be unknown yet"
        first_engagement = next((i for i, step in enumerate(visit.steps) if step.op == "get_engagement"), None)
        for index, step in enumerate(visit.steps):
            if step.op == "update" and (first_engagement is None or index < first_engagement):
                yield f"steps[{index}].op", "an update without an earlier get_engagement: it will be skipped"

    def _remember(self, line: int, visit: Visit) -> None:
        self._ids.add(visit.id)
        self._cohorts.add(visit.cohort)
        self._last_at = visit.at
        self._expected.pop(visit.visitor, None)
        if visit.returns:
            self._expected[visit.visitor] = (line, visit.at + sum(step.think for step in visit.steps))


class Validation:
    """The check of a whole trace in one pass; iterate to run it, read the totals afterwards.

    Iterating yields each visit without errors together with its warnings; `bad` gets the others. Raises `TraceError`
    as `harness.trace.codec.open_trace` does, and for a bad line if `bad` says so.
    """

    def __init__(self, source: str | Path, bad: BadLines, *, requests: bool = True) -> None:
        self._name = source_name(source)
        self._bad = bad
        self._checker = TraceChecker(requests=requests)
        self._content = sha256()
        self.header_line, self.header, lines = open_trace_raw(source, bad, tap=self._content.update)
        self._visits = decoded(lines, self._name, bad)
        self.visits = 0
        self.steps = 0
        self.warnings = 0

    def __iter__(self) -> Iterator[tuple[ReadVisit, list[Finding]]]:
        for read in self._visits:
            findings = self._checker.check(read.line, read.visit)
            errors = [f"{self._name}:{finding}" for finding in findings if finding.severity == "error"]
            if errors:
                self._bad.add(TraceError(errors[0], errors[1:]))
                continue
            self.visits += 1
            self.steps += len(read.visit.steps)
            self.warnings += len(findings)
            yield read, findings

    @property
    def digest(self) -> str:
        """The trace's digest (as `harness.trace.digest`), once everything was read."""
        return f"sha256:{self._content.hexdigest()}"

    def finish(self) -> list[Finding]:
        """The findings about the trace as a whole, after the last visit."""
        findings = self._checker.finish()
        if self.header.visits is not None and self.header.visits != self.visits + self._bad.count:
            message = f"the header promises {self.header.visits} visits, the file has {self.visits + self._bad.count}"
            findings.insert(0, Finding(1, "warning", "visits", message))
        self.warnings += len(findings)
        return findings


def _request_findings(step: Step) -> Iterator[tuple[Literal["error", "warning"], str, str]]:
    try:
        request: Any = orjson.loads(bytes(step.request))
    except orjson.JSONDecodeError as error:
        yield "error", "", str(error)
        return
    if isinstance(request, Mapping):
        recorded = sorted(RECORDED_IDS & request.keys())
        if recorded:
            yield "error", f".{recorded[0]}", "ids of the recorded service must not appear in a trace"
            return
    for problem in check_request(step.op, request):
        yield problem.severity, f".{problem.path}" if problem.path else "", problem.message


def _short(text: str) -> str:
    shown = text if len(text) <= 40 else text[:40] + "…"
    return f"'{shown}'" if shown.isprintable() else ascii(shown)
