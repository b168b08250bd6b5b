"""The rules of a trace's content, each broken once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import TraceError
from harness.trace.check import Finding, TraceChecker, Validation
from harness.trace.digest import trace_digest
from harness.trace.lines import BadLines
from harness.trace.model import Visit

REQUEST = {"appType": "EXTERNAL"}


def step(op: str = "get_engagement", identity: str = "fresh", **more: Any) -> dict[str, Any]:
    request = REQUEST if op == "get_engagement" else {"impAttributes": [{"type": "impDisplay"}]}
    return {"op": op, "identity": identity, "request": request, **more}


def visit(**changes: Any) -> Visit:
    line = {"visit": "v", "visitor": "u", "at": 0, "steps": [step()], **changes}
    return msgspec.json.decode(msgspec.json.encode(line), type=Visit)


def findings(*visits: Visit, end: bool = False) -> list[tuple[int, str, str, str]]:
    checker = TraceChecker()
    found = [tuple(finding) for line, one in enumerate(visits, start=2) for finding in checker.check(line, one)]
    return found + ([tuple(finding) for finding in checker.finish()] if end else [])  # type: ignore[return-value]


def test_sound_visits_have_no_findings() -> None:
    """Visits that follow all rules, with chain, update, return and stale steps, give nothing to say."""
    chained = [step(), step(identity="chain", think=1.5), step("update", "chain")]
    assert (
        findings(
            visit(visit="a", returns=True, steps=chained),
            visit(visit="b", at=5, steps=[step(identity="return")]),
            visit(visit="c", at=5, visitor="w", cohort="tablet", account="123", steps=[step(identity="stale")]),
            end=True,
        )
        == []
    )


@pytest.mark.parametrize(
    ("broken", "path", "message"),
    [
        (visit(visit=""), "visit", "'' is no id: letters, digits and ._:- only, at most 80"),
        (visit(visit="a b"), "visit", "'a b' is no id: letters, digits and ._:- only, at most 80"),
        (visit(visitor="\n"), "visitor", "'\\n' is no id: letters, digits and ._:- only, at most 80"),
        (visit(visit="x" * 81), "visit", f"'{'x' * 40}…' is no id: letters, digits and ._:- only, at most 80"),
        (visit(cohort="two words"), "cohort", "'two words' is no cohort: letters, digits and ._- only, at most 32"),
        (visit(at=-0.5), "at", "-0.5 is no time: seconds from 0 to ten years"),
        (visit(at=1e300), "at", "1e+300 is no time: seconds from 0 to ten years"),
        (visit(steps=[]), "steps", "the visit has no step"),
        (visit(steps=[step(think=-1)]), "steps[0].think", "-1.0 is no think time: seconds from 0 to ten years"),
        (
            visit(steps=[step(request={"sid": "s", **REQUEST})]),
            "steps[0].request.sid",
            "ids of the recorded service must not appear in a trace",
        ),
        (
            visit(steps=[step(), step("update", request={"pageId": "1"})]),
            "steps[1].request.pageId",
            "ids of the recorded service must not appear in a trace",
        ),
    ],
)
def test_errors_of_one_visit(broken: Visit, path: str, message: str) -> None:
    """Each broken rule is one error that names the line, the place and the rule."""
    assert findings(broken) == [(2, "error", path, message)]


def test_a_trailing_line_end_is_no_part_of_an_id() -> None:
    """An id that ends in a line end is no id: the pattern's end means the text's end."""
    assert [path for _, _, path, _ in findings(visit(visit="a\n", visitor="b\n", cohort="c\n"))] == [
        "visit", "visitor", "cohort",
    ]  # fmt: skip


def test_request_is_judged_by_the_contract() -> None:
    """What the service would refuse is an error at its place inside the request."""
    wrong = visit(steps=[step(request={"appType": "EXTERNAL", "engagementAttributes": [{"type": "impDisplay"}]})])
    [(line, severity, path, _)] = findings(wrong)
    assert (line, severity, path) == (2, "error", "steps[0].request.engagementAttributes[0].type")


def test_order_and_double_ids_span_lines() -> None:
    """A visit earlier than the one before it, and an id used twice, are errors at the later line."""
    assert findings(visit(visit="a", at=2), visit(visit="b", at=1), visit(visit="a", at=3)) == [
        (3, "error", "at", "1.0 comes after 2.0: visits must be ordered by at"),
        (4, "error", "visit", "'a' stands here twice: ids of visits must differ"),
    ]


def test_an_erroneous_visit_leaves_no_mark() -> None:
    """A bad visit, once skipped, influences no later finding: neither its id, its time nor its cohort."""
    assert findings(visit(visit="a", at=9, steps=[]), visit(visit="a", at=1)) == [
        (2, "error", "steps", "the visit has no step")
    ]


def test_at_most_twenty_cohorts() -> None:
    """The twenty-first cohort is an error; the twenty go on."""
    visits = [visit(visit=f"v{number}", cohort=f"c{number % 21}") for number in range(42)]
    assert [(line, path) for line, _, path, _ in findings(*visits)] == [(22, "cohort"), (43, "cohort")]


@pytest.mark.parametrize(
    ("odd", "path", "message"),
    [
        (visit(account="a-b"), "account", "unusual for an account: letters, digits and _ are documented, at most 20"),
        (
            visit(steps=[step(identity="chain")]),
            "steps[0].identity",
            "chain, but no step comes before: the step goes out fresh",
        ),
        (
            visit(steps=[step(identity="return")]),
            "steps[0].identity",
            "return, but no earlier visit of this visitor has returns: true: the step goes out fresh",
        ),
        (
            visit(steps=[step("update"), step()]),
            "steps[0].op",
            "an update without an earlier get_engagement: it will be skipped",
        ),
        (visit(returns=True), "returns", "the visitor never comes again: its vid is remembered for nothing"),
    ],
)
def test_warnings(odd: Visit, path: str, message: str) -> None:
    """What can be replayed, but hardly as meant, is a warning."""
    assert findings(odd, end=True) == [(2, "warning", path, message)]


def test_return_before_the_earlier_visit_ended() -> None:
    """A visitor that returns while its earlier visit must still be going on is warned of."""
    long = visit(visit="a", returns=True, steps=[step(), step(identity="chain", think=10)])
    assert findings(long, visit(visit="b", at=9, steps=[step(identity="return")])) == [
        (3, "warning", "at", "returns before the visit of line 2 can have ended: its vid may be unknown yet")
    ]


def test_bodies_can_be_left_alone() -> None:
    """Without request checking only the visits themselves are judged."""
    checker = TraceChecker(requests=False)
    assert checker.check(2, visit(steps=[step(request={"vid": 1})])) == []


def test_validation_of_a_file(tmp_path: Path) -> None:
    """A whole file: good visits come through with their findings, bad ones go aside, totals and digest are right."""
    path = tmp_path / "t.jsonl"
    good = '{"visit":"%s","visitor":"u","at":0,"steps":[{"op":"get_engagement","request":{"appType":"EXTERNAL"}}]}'
    path.write_text("\n".join(['{"harness_trace":1,"visits":9}', good % "a", "oops", good % "a", good % "b"]))
    bad = BadLines("skip")
    validation = Validation(path, bad)
    assert [(read.line, [finding.path for finding in found]) for read, found in validation] == [
        (2, ["steps[0].identity"]),
        (5, ["steps[0].identity"]),
    ]
    assert validation.finish() == [Finding(1, "warning", "visits", "the header promises 9 visits, the file has 4")]
    assert (validation.visits, validation.steps, validation.warnings, bad.count) == (2, 2, 3, 2)
    assert bad.messages[1] == f"{path}:4: visit: 'a' stands here twice: ids of visits must differ"
    assert validation.digest == trace_digest(path)
    with pytest.raises(TraceError, match=r"t\.jsonl:3: not a visit"):
        list(Validation(path, BadLines()))
