"""`RunConfig`: everything a run needs to know, checked and complete, in plain data.

The CLI builds it from flags, environment, profile and defaults; the master gets it as a JSON file and sends it to each
worker inside START. Nothing downstream looks at flags or files again. Secrets stay references (`env:NAME`,
`file:PATH`), resolved on the worker.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.units import NS_PER_S
from harness.visitor.retry import POLICIES, RetryPolicy

ConnectionMode = Literal["browser", "pooled", "fresh"]
# Chromium, whose engine most browsers share, drops a connection that was used and then lay idle for five minutes.
IDLE_LIMIT_NS = 300 * NS_PER_S

UNVERIFIED = "harness: WARNING: --insecure: the target's certificate is NOT verified, so anybody may be answering"


class ValidityLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits beyond which the instrument, not the target, is in doubt (interfaces section 4)."""

    lag_p99_ms: float = 10.0
    loop_stall_max_ms: float = 250.0
    cpu_max_ratio: float = 0.8
    arrivals_deviation_ratio: float = 0.005
    dropped_ratio: float = 0.001
    crossed: int = 0
    workers_lost: int = 0
    drift_ratio: float | None = None

    def tolerating(self, workers_lost: int) -> ValidityLimits:
        """These limits, with so many lost workers accepted at least (`--tolerate-worker-loss`)."""
        return msgspec.structs.replace(self, workers_lost=max(self.workers_lost, workers_lost))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Guard-rails that each worker and the master keep (profile table `[limits]`); None means no limit."""

    max_visits_per_s: float | None = None
    max_open_visits: int | None = None
    max_new_sessions_per_min: float | None = None
    abort_on: tuple[str, ...] = ()


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is compared with its history (profile table `[regression]`)."""

    metrics: tuple[str, ...] = ()
    min_effect: float = 0.05
    alpha: float = 0.01
    history: int = 14


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One run, complete and checked. Durations in ns; None means not limited or not given.

    `trace_digest` and `cohorts` (in the order in which they come) are what reading the trace beforehand has shown.
    """

    run_id: str
    trace: str
    trace_digest: str = ""
    cohorts: tuple[str, ...] = ()
    scenario: str = ""
    target: str = "http://127.0.0.1:8765"
    account: str = "12345678"
    accounts: dict[str, str] = {}
    allowed_hosts: tuple[str, ...] = ()
    environment: str = "test"
    yes_production: bool = False
    resolve: dict[str, str] = {}
    arrivals: str = "recorded"
    duration_ns: int | None = None
    warmup_ns: int = 0
    drain_ns: int = 30 * NS_PER_S
    max_think_ns: int | None = None
    limit_visits: int | None = None
    loop: int = 1
    amplify: float = 1.0
    speed: float = 1.0
    warp_think: bool = False
    on_bad_line: Literal["fail", "skip"] = "fail"
    retry: RetryPolicy = POLICIES["until-available"]
    connections: ConnectionMode = "browser"
    timeout_ns: int = 30 * NS_PER_S
    connect_timeout_ns: int = 10 * NS_PER_S
    max_lag_ns: int = NS_PER_S
    insecure: bool = False
    ca_file: str | None = None
    client_cert: str | None = None
    source_addresses: tuple[str, ...] = ()
    user_agent: str | None = None
    traceparent: bool = False
    headers: dict[str, str] = {}
    thresholds: tuple[str, ...] = ()
    validity: ValidityLimits = ValidityLimits()
    limits: Limits = Limits()
    regression: Regression = Regression()
    tolerate_worker_loss: int = 0
    workers: int = 1
    bind: str | None = None
    expect_workers: int = 1
    metrics: str | None = "127.0.0.1:9646"
    linger_ns: int = 15 * NS_PER_S
    out_dir: str = ""
    seed: int = 1
    labels: dict[str, str] = {}
    web: bool = False
    log_attempts: str | None = None
    origins: dict[str, str] = {}

    @property
    def unverified(self) -> bool:
        """Whether the target's certificate is not looked at (`--insecure`)."""
        return self.insecure and self.target.startswith("https:")

    @property
    def think_speed(self) -> float:
        """How much faster than recorded visitors think."""
        return self.speed if self.warp_think else 1.0

    def account_of(self, name: str | None) -> str:
        """The account id of a visit that names this account: as the profile maps it, else the run's own."""
        return self.accounts.get(name, self.account) if name else self.account

    @property
    def closed_slots(self) -> int | None:
        """Number of visits kept open in a closed-loop run (`closed:N`), else None."""
        spec = self.arrivals.strip()
        return int(spec.split(":")[1]) if spec.startswith("closed:") else None
