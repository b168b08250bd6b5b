"""Retry policies as data (interfaces section 6): which results are tried again, when, and with whose ids.

A policy never sleeps and never counts: the session asks `delay_ns` for the pause before retry number `n` and decides
by `retries` whether there is one. Jitter is a pure function of (seed, visit, step, attempt), so a run repeats exactly
on any number of workers.
"""

from __future__ import annotations

from hashlib import blake2b
from math import inf
from typing import Literal

import msgspec

from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Result

IdsOnRetry = Literal["keep", "none", "hint"]
Budget = Literal["step", "visit"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a step is tried again.

    The pause before retry n (1, 2, …) is `first_ms * factor**(n-1)`, at most `max_ms`, times 1 ± `jitter`; or the
    n-th entry of `delays_ms` if given. No retry is sent later than `budget_s` after the step was first due, nor more
    than `max_retries` times (per step, or per visit if `scope` says so). A throttled attempt waits at least
    `throttled_min_ms`; it and a server error wait for the reply's Retry-After, unless `heed_retry_after` is off.

    `ids_on_retry`: `keep` sends the newest ids of the visit; `none` sends ids only if a success of this visit gave
    some; `hint` keeps them and also takes up the vid that a "Loading account … vid: X" message carried.
    """

    name: str
    retry_on: frozenset[str] = frozenset()
    first_ms: float = 100.0
    factor: float = 1.0
    max_ms: float = 60_000.0
    jitter: float = 0.0
    delays_ms: tuple[float, ...] = ()
    budget_s: float | None = None
    max_retries: int | None = None
    scope: Budget = "step"
    throttled_min_ms: float = 1_000.0
    heed_retry_after: bool = True
    ids_on_retry: IdsOnRetry = "keep"

    def retries(self, result: Result) -> bool:
        """Whether this policy tries again after `result` at all (its budget aside)."""
        return result.name in self.retry_on

    def delay_ns(self, retry: int, result: Result, retry_after_ns: int, jitter: float) -> int:
        """The pause before retry number `retry` (1 or more); `jitter` is a draw from [-1, 1].

        `retry_after_ns` is what the reply asked for, 0 if nothing.
        """
        if self.delays_ms:
            pause_ms = self.delays_ms[min(retry, len(self.delays_ms)) - 1]
        else:
            pause_ms = min(self.first_ms * self._growth(retry), self.max_ms)
        pause_ns = int(pause_ms * NS_PER_MS * (1.0 + self.jitter * jitter))
        if result is Result.throttled:
            pause_ns = max(pause_ns, int(self.throttled_min_ms * NS_PER_MS))
        elif result is not Result.server_error:
            return pause_ns
        return max(pause_ns, retry_after_ns) if self.heed_retry_after else pause_ns

    def _growth(self, retry: int) -> float:
        try:
            return self.factor ** (retry - 1)
        except OverflowError:  # beyond every float, so beyond `max_ms`
            return inf

    def budget_ns(self) -> int | None:
        """Nanoseconds after the step was first due beyond which no retry is sent, or None."""
        return None if self.budget_s is None else int(self.budget_s * NS_PER_S)


def jitter_draw(seed: int, visit: str, step: int, attempt: int) -> float:
    """A uniform draw from [-1, 1) that depends on its arguments alone."""
    digest = blake2b(f"{seed}/{visit}/{step}/{attempt}".encode(), digest_size=8).digest()
    # As many bits as a float holds: one more could round up to 1.
    return (int.from_bytes(digest, "big") >> 11) / 2.0**52 - 1.0


_SERVER_SIDE = frozenset({"loading", "server_error"})
_TRANSPORT = frozenset({"timeout", "connect_error", "reset"})
_ERROR_REPLIES = frozenset({"loading", "throttled", "rejected", "client_error", "server_error"})

POLICIES: dict[str, RetryPolicy] = {
    policy.name: policy
    for policy in (
        RetryPolicy(
            name="until-available",
            retry_on=_SERVER_SIDE | _TRANSPORT | {"not_available", "throttled"},
            first_ms=100.0,
            factor=1.5,
            max_ms=5_000.0,
            jitter=0.2,
            budget_s=60.0,
            ids_on_retry="hint",
        ),
        RetryPolicy(
            name="sdk-sample",
            retry_on=_ERROR_REPLIES | _TRANSPORT | {"tls_error", "bad_reply", "redirect"},
            first_ms=100.0,
            max_retries=25,
            scope="visit",
            throttled_min_ms=100.0,
            heed_retry_after=False,
            ids_on_retry="none",
        ),
        RetryPolicy(
            name="rest-guide",
            retry_on=_SERVER_SIDE | {"throttled"},
            delays_ms=(5_000.0, 10_000.0, 15_000.0),
            max_retries=3,
            ids_on_retry="hint",
        ),
        RetryPolicy(name="none"),
    )
}
