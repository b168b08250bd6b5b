"""The doctor and the guard: what may not be loaded is not even asked."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest

from harness.bench.job import Play
from harness.config.model import RunConfig
from harness.doctor.engine import Rate, kept_rate
from harness.doctor.target import target_findings
from harness.engine.endpoint import Endpoint
from harness.errors import UnreachableError, UsageError


def config(target: str, *allowed: str) -> RunConfig:
    """A configuration that names a target."""
    return RunConfig(run_id="doctor", trace="", target=target, allowed_hosts=allowed)


def never(*_: object) -> NoReturn:
    """Stands where nothing may be sent."""
    raise AssertionError("something was sent")


def test_nothing_is_sent_to_a_target_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard's no is the only thing that is said, and neither TLS nor the probe is tried."""
    monkeypatch.setattr(socket, "create_connection", never)
    (finding,) = target_findings(config("https://192.0.2.1"), never)
    assert (finding.subject, finding.level, finding.advice) == ("guard", "bad", "nothing was sent")
    assert "--allow-host 192.0.2.1" in finding.observed


def test_an_allowed_target_is_probed() -> None:
    """DNS, guard and the probe's word, each a line."""
    asked: list[str] = []
    findings = target_findings(config("http://127.0.0.1:1"), lambda endpoint, *_: asked.append(endpoint.url))
    assert [(finding.subject, finding.level) for finding in findings] == [
        ("dns", "ok"), ("guard", "ok"), ("reachable", "ok"),
    ]  # fmt: skip
    assert asked == ["http://127.0.0.1:1"]


def test_a_target_that_does_not_answer_is_bad() -> None:
    """The probe's line is what was observed."""

    def silent(_endpoint: Endpoint, *_limits_s: float) -> None:
        raise UnreachableError("target cannot be used: connection refused")

    *_, finding = target_findings(config("http://127.0.0.1:1"), silent)
    assert (finding.level, finding.observed) == ("bad", "target cannot be used: connection refused")


def test_a_url_that_is_none_is_a_usage_error() -> None:
    """Exit code 2, not a finding."""
    with pytest.raises(UsageError):
        target_findings(config("ftp://127.0.0.1"), never)


@pytest.mark.parametrize(
    ("cpu_s", "lag_p99_ms", "kept"),
    [(1.0, 1.5, Rate(5_000, 0.5, 0.1, 1.5)), (1.5, 1.5, None), (1.0, 10.5, None), (1.0, None, None)],
)
def test_a_rate_is_kept_within_its_share_of_a_core_and_in_time(
    cpu_s: float, lag_p99_ms: float | None, kept: Rate | None
) -> None:
    """70 % of a core and the lag of a valid run are the limits."""
    played = Play(attempts=10_000, wall_s=2.0, cpu_s=cpu_s, lag_p50_ms=0.1, lag_p99_ms=lag_p99_ms, rss_bytes=[])
    assert kept_rate(played) == kept
