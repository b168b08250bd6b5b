"""The verdict of a run: PASS, FAIL or INVALID, the exit code, and the checks it rests on.

In order of precedence (the first that applies decides):

    how the run ended / what was found                          status    exit
    internal error of ours                                      INVALID   1
    interrupted by the user                                     INVALID   130
    the instrument itself died (all workers, the simulator)     INVALID   5
    ended by a guard-rail                                       FAIL      6
    not one readable reply although attempts were made          FAIL      7
    a validity check failed, or a threshold lacks data          INVALID   5
    a threshold is violated, or none was given and nothing      FAIL      3
      became available
    a regression against the baseline                           FAIL      4
    otherwise                                                   PASS      0

INVALID speaks of the instrument and never enters a baseline; FAIL speaks of the target. All is read from the summary
and the measured snapshot, so `harness check` judges a stored run by the same function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from harness.config.model import ValidityLimits
from harness.errors import ExitCode
from harness.judge.check import Check, Kind
from harness.judge.evaluate import evaluate
from harness.judge.threshold import Threshold
from harness.judge.validity import check_validity
from harness.measure.names import NO_REPLY_RESULTS
from harness.measure.snapshot import Snapshot

_ENDINGS: dict[str, tuple[str, ExitCode]] = {
    "internal_error": ("INVALID", ExitCode.INTERNAL),
    "interrupted": ("INVALID", ExitCode.INTERRUPTED),
    "instrument": ("INVALID", ExitCode.INVALID),
    "guard": ("FAIL", ExitCode.GUARD),
    "unreachable": ("FAIL", ExitCode.UNREACHABLE),
}


def judge(
    summary: Mapping[str, Any],
    measured: Snapshot,
    *,
    thresholds: Sequence[Threshold],
    limits: ValidityLimits,
    more: Sequence[Check] = (),
    slices: Sequence[Snapshot] = (),
) -> dict[str, Any]:
    """The `verdict` block of a summary: {status, exit_code, cause, checks}; `cause`, one line, only if it is no PASS.

    `summary` is what `summarize` gave (a verdict in it is ignored), `measured` the snapshot of everything after the
    warm-up, `more` checks made elsewhere (regressions, guards), `slices` the measured seconds, for the intervals of
    ratios. The intervals are drawn with the run's own seed, so the same run is always judged alike.
    """
    phases = summary["phases"]
    ending = _ending(summary)
    checks = [
        *_ending_checks(summary, ending),
        *check_validity(summary, limits),
        *evaluate(
            thresholds,
            measured,
            arrivals_s=phases["arrivals_s"],
            measured_s=phases["measured_s"],
            slices=slices,
            rng=Random(f"bootstrap/{summary['seed']}"),
        ),
        *([] if thresholds else [_something_available(summary)]),
        *more,
    ]
    status, exit_code = _ENDINGS.get(ending) or _from_checks(checks)
    cause = {} if status == "PASS" else {"cause": _cause(checks, exit_code)}
    return {"status": status, "exit_code": int(exit_code), **cause, "checks": [check.to_obj() for check in checks]}


def _cause(checks: Sequence[Check], exit_code: ExitCode) -> str:
    """The check that decided: of several the first, since validity checks stand in the order of causes."""
    failed = [check for check in checks if not check.ok]
    if exit_code == ExitCode.INVALID:
        failed = [check for check in failed if check.kind == "validity" or not check.enough_data]
    elif exit_code == ExitCode.FAIL_REGRESSION:
        failed = [check for check in failed if check.kind == "regression"]
    return f"{failed[0].name}: {failed[0].message}"


def extended(verdict: Mapping[str, Any], more: Sequence[Check]) -> dict[str, Any]:
    """A finished verdict with further checks of kind "regression": they can turn a PASS into a FAIL, and no more."""
    checks = [*verdict["checks"], *(check.to_obj() for check in more)]
    if verdict["status"] == "PASS" and not all(check.ok for check in more):
        cause = _cause(more, ExitCode.FAIL_REGRESSION)
        return {"status": "FAIL", "exit_code": int(ExitCode.FAIL_REGRESSION), "cause": cause, "checks": checks}
    return {**verdict, "checks": checks}


def _from_checks(checks: Sequence[Check]) -> tuple[str, ExitCode]:
    failed = {check.kind for check in checks if not check.ok}
    if "validity" in failed or not all(check.enough_data for check in checks):
        return "INVALID", ExitCode.INVALID
    for kind, exit_code in (
        ("guard", ExitCode.GUARD),
        ("slo", ExitCode.FAIL_SLO),
        ("regression", ExitCode.FAIL_REGRESSION),
    ):
        if kind in failed:
            return "FAIL", exit_code
    return "PASS", ExitCode.PASS


def _ending(summary: Mapping[str, Any]) -> str:
    by_result = summary["attempts"]["by_result"]
    if by_result["internal_error"]:
        return "internal_error"
    if summary["ended"]["reason"] != "finished":
        return str(summary["ended"]["reason"])
    attempts = summary["attempts"]["total"]
    unanswered = sum(by_result[result] for result in NO_REPLY_RESULTS)
    return "unreachable" if attempts and attempts == unanswered else "finished"


def _ending_checks(summary: Mapping[str, Any], ending: str) -> list[Check]:
    if ending == "finished":
        return []
    attempts = summary["attempts"]["total"]
    said = summary["ended"]["message"]
    message = {
        "internal_error": said or "an attempt ended in an error of the harness itself; see the logs in the run folder",
        "interrupted": said or "the run was interrupted; what was measured until then is kept",
        "instrument": said,
        "guard": said.removeprefix("guard: ") or "a guard-rail ended the run",
        "unreachable": f"not one readable reply to {attempts} attempts; is the target up, and is it this one?",
    }[ending]
    kind: Kind = "guard" if ending in ("guard", "unreachable") else "validity"
    return [Check(name=ending, kind=kind, ok=False, observed=None, limit=None, unit="", message=message)]


def _something_available(summary: Mapping[str, Any]) -> Check:
    available = summary["steps"]["available"]
    message = f"{available} steps became available" if available else "nothing became available; no threshold was given"
    return Check(
        name="something_available", kind="slo", ok=available > 0, observed=available, limit=1, unit="", message=message
    )
