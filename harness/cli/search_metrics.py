"""The metrics page of a capacity search: it spans many runs, so the search's own process serves it, the runs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

from harness.capacity.search import Found, Step
from harness.capacity.steps import StepResult
from harness.capacity.usl import Usl
from harness.export.http import MetricsServer
from harness.export.negotiation import encode
from harness.export.prometheus import search_page
from harness.export.state import CapacityState, RunState
from harness.units import NS_PER_S

_EVERY_S = 1.0


def capacity_state(newest: StepResult, rate_hz: Mapping[str, float], law: Usl | None) -> CapacityState:
    """What load steps have shown: the newest one, the bounds that all of them give, and the law through them."""
    usl: dict[str, float] = {}
    if law is not None:
        usl = {"lambda": law.lambda_hz, "sigma": law.sigma, "kappa": law.kappa}
        if law.knee is not None:
            usl |= {"knee": law.knee, "peak": law.throughput_hz(law.knee)}
    return CapacityState(
        step_rate_hz=newest.rate_hz,
        step_achieved_hz=newest.achieved_hz,
        step_goodput_hz=newest.goodput_hz,
        step_concurrency=newest.concurrency,
        step_latency_s={
            stat: float("inf") if value_ns is None else value_ns / NS_PER_S
            for stat, value_ns in newest.latency_ns.items()
        },
        step_availability=newest.availability,
        step_ok=newest.ok,
        rate_hz=rate_hz,
        usl=usl,
    )


def bounds_of(steps: Sequence[Step], found: Found | None) -> dict[str, float]:
    """What steps, and at the end the result, say about the highest rate: {bound: visits per second}."""
    below = min((step.rate_hz for step in steps if step.verdict == "broken"), default=None)
    held = [step.rate_hz for step in steps if step.verdict == "held" and (below is None or step.rate_hz < below)]
    bounds = {} if below is None else {"below": below}
    if held:
        bounds["at_least"] = max(held)
    if found is not None and found.bound == "estimate" and found.max_rate_hz is not None:
        bounds["estimate"] = found.max_rate_hz
    return bounds


class SearchMetrics:
    """Serves the page of a search on `address`; raises `UsageError` when that port cannot be had."""

    def __init__(self, address: str, run_info: Mapping[str, str]) -> None:
        self._server = MetricsServer(address)
        self._run_info = run_info
        self._state = RunState()
        self._published_s = 0.0
        self.tick()

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._server.url

    def show(self, steps: Sequence[Step], newest: StepResult, law: Usl | None, found: Found | None = None) -> None:
        """From now on the page tells of `steps`, of which `newest` was measured last, and of what was found."""
        bounds = bounds_of(steps, found)
        self._state = RunState(
            phase="measure" if found is None else "ended", capacity=capacity_state(newest, bounds, law)
        )
        self._publish()

    def tick(self) -> None:
        """Renews the page now and then, in the formats that are asked for."""
        if monotonic() - self._published_s >= _EVERY_S:
            self._publish()

    def linger(self, limit_s: float) -> None:
        """Waits until all who scrape have the newest page, if anybody scraped at all; `limit_s` at most."""
        self._server.linger(limit_s)

    def close(self) -> None:
        """Stops listening."""
        self._server.close()

    def _publish(self) -> None:
        page = search_page(self._run_info, self._state)
        self._server.publish({content_type: encode(page, content_type) for content_type in self._server.wanted})
        self._published_s = monotonic()
