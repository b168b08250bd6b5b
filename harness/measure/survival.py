"""Time-to-event quantiles when some waits were cut off: the Kaplan-Meier estimator on histograms.

A wait that was cut off at c says only that it lasted longer than c. Leaving it out, or taking c for its length, makes a
service look faster the sooner one stops waiting. Kaplan and Meier (1958): walking up in time, the share that still
waits shrinks by (1 - events / still waiting) at each event; cut-off waits leave the crowd after the events of their
bucket. Waits that can never end (a rejected step) stay in the crowd for ever: they are infinitely long.
"""

from __future__ import annotations

from harness.measure.histogram import Histogram


def time_to_event_quantile(events: Histogram, censored: Histogram, never: int, q: float) -> int | None:
    """The time in ns by which a share `q` (above 0, to 1) of all waits is estimated to have ended.

    `events` holds the waits that ended, `censored` those cut off (at that time), `never` how many cannot end. Without
    the latter two it is `events.quantile(q)`. None when the estimate never reaches `q`.
    """
    if not 0.0 < q <= 1.0:
        raise ValueError(f"a quantile lies above 0 and up to 1, not {q}")
    waiting = events.count + censored.count + never
    still = 1.0
    for index in sorted(events.counts.keys() | censored.counts.keys()):
        ended = events.counts.get(index, 0)
        if ended:
            still *= 1.0 - ended / waiting
            if 1.0 - still >= q - 1e-9:
                return events.highest if q == 1.0 else events.value_at(index)
        waiting -= ended + censored.counts.get(index, 0)
    return None
