"""What the practice target tells about itself: `GET /sim/truth` and `GET /metrics`."""

from __future__ import annotations

from typing import Any

import orjson

from harness.sim.behaviour import Behaviour
from harness.sim.scenario import Freeze
from harness.units import NS_PER_S


def truth_json(behaviour: Behaviour, seed: int, now_ns: int) -> bytes:
    """Everything that is known about the run so far, as a JSON object (`Truth.to_obj` and the state around it)."""
    at_ns = 0 if behaviour.epoch_ns is None else now_ns - behaviour.epoch_ns
    for account in behaviour.accounts.values():
        account.sweep(at_ns)
    state: dict[str, Any] = {
        "scenario": behaviour.scenario.name,
        "seed": seed,
        "elapsed_s": round(at_ns / NS_PER_S, 3),
        "accounts": len(behaviour.accounts),
        "visitors_known": sum(len(account.visitors) for account in behaviour.accounts.values()),
        "sessions_open": sum(len(account.sessions) for account in behaviour.accounts.values()),
        "freezes": [freeze for rule in behaviour.scenario.freezes for freeze in _begun(rule, at_ns)],
    }
    return orjson.dumps(state | behaviour.truth.to_obj(), option=orjson.OPT_APPEND_NEWLINE)


def metrics_text(behaviour: Behaviour) -> bytes:
    """The counters in Prometheus text format."""
    truth = behaviour.truth
    lines = ["# TYPE sim_requests_total counter"]
    lines += [
        f'sim_requests_total{{op="{op}",outcome="{outcome}"}} {count}'
        for (op, outcome), count in sorted(truth.outcomes().items())
    ]
    for name, kind, value in (
        ("sim_visitors_issued_total", "counter", truth.visitors_issued),
        ("sim_sessions_issued_total", "counter", truth.sessions_issued),
        ("sim_connections_total", "counter", truth.connections),
        ("sim_in_flight", "gauge", truth.in_flight),
    ):
        lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
    return ("\n".join(lines) + "\n").encode()


def _begun(freeze: Freeze, at_ns: int) -> list[dict[str, float]]:
    """The last freezes of a rule that have begun by now, at most 100, in seconds of scenario time."""
    if at_ns < freeze.at_ns:
        return []
    times = (at_ns - freeze.at_ns) // freeze.every_ns if freeze.every_ns else 0
    starts = (freeze.at_ns + n * (freeze.every_ns or 0) for n in range(max(0, times - 99), times + 1))
    return [{"at_s": start / NS_PER_S, "until_s": (start + freeze.lasts_ns) / NS_PER_S} for start in starts]
