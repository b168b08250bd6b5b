"""The closed sets of interfaces section 3 as text, for keys, columns and labels.

Measurement and judging speak in names (they cross processes and end in files); the numbers behind them stay with the
records.
"""

from __future__ import annotations

from harness.visitor.records import NO_REPLY, Chain, Outcome, Result, VisitEnd

RESULTS: tuple[str, ...] = tuple(result.name for result in Result)
NO_REPLY_RESULTS: tuple[str, ...] = tuple(result.name for result in Result if result in NO_REPLY)
OUTCOMES: tuple[str, ...] = tuple(outcome.name for outcome in Outcome if outcome is not Outcome.undealt)
VISIT_ENDS: tuple[str, ...] = tuple(end.name for end in VisitEnd)
CHAIN_EVENTS: tuple[str, ...] = tuple(event.name for event in Chain if event is not Chain.none)
CONNECTION_EVENTS: tuple[str, ...] = ("opened", "reused", "closed_by_peer", "tls_full", "tls_resumed")

# Measures recorded per attempt and operation, then those of the generator as a whole and of a step.
ATTEMPT_MEASURES: tuple[str, ...] = ("response_time", "service_time", "connect_time", "dispatch_lag")
MEASURES: tuple[str, ...] = (*ATTEMPT_MEASURES, "loop_delay", "time_to_available")

# What a worker settles itself; `lost` and `undealt` exist only in the master's ledger.
SETTLED_VISITS: tuple[str, ...] = tuple(name for name in VISIT_ENDS if name != "lost")
SETTLED_STEPS: tuple[str, ...] = tuple(name for name in OUTCOMES if name != "lost")
