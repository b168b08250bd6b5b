"""Prometheus's rules as code: recording rules for what the dashboards compute often, and alerts, some from an SLO file.

A threshold becomes an alert by what it measures: the same quantity over the last minute, from the counters and
histograms that are scraped. What they cannot tell (times of one cohort, of error replies) is alerted by
`harness_slo_ok`, which the harness judges itself. Alerts on the instrument do not depend on the SLO file.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.dashboards.promql import eq, quantile, ratio, selector, total_rate
from harness.judge.threshold import Threshold
from harness.units import NS_PER_S

_WINDOW = "1m"
_SETTLED = "available|not_available|exhausted|rejected|failed"
_TRIED = f"{_SETTLED}|accepted"
_NOT_JUDGED = "censored|dropped|lost|undealt"
# An alert fires where the condition of the threshold does not hold.
_BROKEN = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A recording rule (`record`) or an alert (`alert`) on an expression; `wait` is how long an alert must hold."""

    expr: str
    record: str = ""
    alert: str = ""
    wait: str = ""
    labels: dict[str, str] = {}
    summary: str = ""


def rules(thresholds: Sequence[Threshold]) -> dict[str, list[Rule]]:
    """All rules by the name of their group."""
    return {
        "harness-recording": _recording(),
        "harness-slo": [_slo_alert(threshold) for threshold in thresholds],
        "harness-instrument": _instrument(),
        "harness-verdict": _verdict(),
    }


def _recording() -> list[Rule]:
    times = [
        Rule(record=f"harness:{measure}_seconds:p{q * 100:g}_1m", expr=_by_instance(q, measure))
        for measure in ("response_time", "service_time", "dispatch_lag", "time_to_available")
        for q in (0.5, 0.95, 0.99)
    ]
    steps = "harness_steps_total"
    return [
        *times,
        Rule(
            record="harness:availability:ratio_1m",
            expr=ratio(
                _rate(steps, eq(op="get_engagement", outcome="available")),
                _rate(steps, f'op="get_engagement",outcome=~"{_SETTLED}"'),
            ),
        ),
        Rule(record="harness:arrivals_missed:hz_1m", expr=_missed()),
    ]


def _missed() -> str:
    planned, started = (_rate("harness_arrivals_total", eq(kind=kind)) for kind in ("planned", "started"))
    return f"{planned} - {started}"


def _rate(name: str, matchers: str = "") -> str:
    return total_rate(name, matchers, by="instance", window=_WINDOW, instance="")


def _by_instance(q: float, measure: str, matchers: str = "") -> str:
    return quantile(q, measure, matchers, by="instance", window=_WINDOW, instance="")


def _slo_alert(threshold: Threshold) -> Rule:
    value, limit = _observed(threshold), threshold.limit
    if threshold.function in ("quantile", "mean", "max"):
        limit /= NS_PER_S
    if value is None:
        slo = threshold.text.replace("\\", "\\\\").replace('"', '\\"')
        expr = f"{selector('harness_slo_ok', eq(slo=slo), instance='')} == 0"
    else:
        expr = f"({value}) {_BROKEN[threshold.operator]} {limit:.12g}"
    return Rule(
        alert="HarnessThresholdBroken",
        expr=expr,
        wait="30s",
        labels={"severity": "warning", "slo": threshold.text},
        summary=f"{threshold.text} does not hold over the last minute on {{{{ $labels.instance }}}}",
    )


def _observed(threshold: Threshold) -> str | None:
    """What the threshold speaks of, over the last minute; None where the scraped series cannot tell."""
    labels = {name: value for name, value in (("op", threshold.op), ("cohort", threshold.cohort)) if value is not None}
    match threshold.function:
        case "quantile" | "mean" | "max":
            return _time(threshold, labels)
        case "availability":
            if threshold.subject == "first":
                return None if labels else selector("harness_availability_ratio", eq(kind="first_attempt"), instance="")
            outcomes = {"op": "get_engagement", **labels}
            settled = f'{eq(**outcomes)},outcome=~"{_SETTLED}"'
            return ratio(
                _rate("harness_steps_total", eq(**outcomes, outcome="available")), _rate("harness_steps_total", settled)
            )
        case "ratio":
            if threshold.of == "attempts":
                hits = _rate("harness_attempts_total", eq(**labels, result=threshold.subject))
                return ratio(hits, _rate("harness_attempts_total", eq(**labels)))
            hits = _rate("harness_steps_total", eq(**labels, outcome=threshold.subject))
            left_out = _NOT_JUDGED.replace(f"{threshold.subject}|", "")
            base = ",".join(part for part in (eq(**labels), f'outcome!~"{left_out}"') if part)
            return ratio(hits, _rate("harness_steps_total", base))
        case "retry_amplification":
            tried = ",".join(part for part in (eq(**labels), f'outcome=~"{_TRIED}"') if part)
            return ratio(_rate("harness_attempts_total", eq(**labels)), _rate("harness_steps_total", tried))
        case "chain":
            return selector("harness_chain_total", eq(event=threshold.subject), instance="")
        case "rate":
            if threshold.subject == "visits":
                return None if labels else _rate("harness_arrivals_total", eq(kind="started"))
            return _rate(f"harness_{threshold.subject}_total", eq(**labels))


def _time(threshold: Threshold, labels: dict[str, str]) -> str | None:
    measure = threshold.subject
    per_op = measure in ("response_time", "service_time")
    if threshold.row != "ok" or not labels.keys() <= ({"op"} if per_op else set()):
        return None
    if threshold.function == "quantile" and threshold.q is not None:
        return _by_instance(threshold.q, measure, eq(**labels))
    if threshold.function == "mean" and not per_op:
        return ratio(_rate(f"harness_{measure}_seconds_sum"), _rate(f"harness_{measure}_seconds_count"))
    if threshold.function == "max" and not labels:
        return selector("harness_latency_seconds", eq(measure=measure, stat="max"), instance="")
    # A mean of reply times leaves out what never came, which the histogram's count has.
    return None


def _alert(name: str, expr: str, summary: str, *, wait: str = "0s", severity: str = "warning") -> Rule:
    where = "on {{ $labels.instance }}"
    return Rule(alert=name, expr=expr, wait=wait, labels={"severity": severity}, summary=f"{summary} {where}")


def _instrument() -> list[Rule]:
    lag = selector("harness_latency_seconds", eq(measure="dispatch_lag", stat="p99"), instance="")
    stall = selector("harness_latency_seconds", eq(measure="loop_delay", stat="max"), instance="")
    lost = selector("harness_workers", eq(state="lost"), instance="")
    crossed = selector("harness_chain_total", eq(event="crossed"), instance="")
    return [
        _alert(
            "HarnessGeneratorLate",
            f"{lag} > 0.01",
            "the generator is late: p99 of the dispatch lag above 10 ms",
            wait="10s",
        ),
        _alert("HarnessGeneratorStalled", f"{stall} > 0.25", "the generator's loop stalled for more than 250 ms"),
        _alert(
            "HarnessGeneratorBusy",
            "harness_worker_cpu_ratio > 0.8",
            "a worker uses more than 80 % of its core",
            wait="10s",
        ),
        _alert(
            "HarnessArrivalsMissed", "harness:arrivals_missed:hz_1m > 1", "visits do not begin as planned", wait="30s"
        ),
        _alert("HarnessWorkerLost", f"{lost} > 0", "a worker is lost", severity="critical"),
        _alert(
            "HarnessIdsCrossed", f"{crossed} > 0", "a visit was given the id of another open visit", severity="critical"
        ),
    ]


def _verdict() -> list[Rule]:
    def given(status: str) -> str:
        # The verdict is there for one scrape or two before the run's process ends.
        return f"max_over_time({selector('harness_verdict', eq(status=status), instance='')}[5m]) == 1"

    return [
        _alert("HarnessRunFailed", given("FAIL"), "the run failed: the target broke a threshold"),
        _alert("HarnessRunInvalid", given("INVALID"), "the run is invalid: the instrument was not sound"),
    ]


def render_rules(groups: dict[str, list[Rule]], source: str) -> str:
    """The rules as Prometheus reads them (YAML); `source` says where the thresholds come from."""
    lines = [f"# Made by `harness dashboards build`; the thresholds are those of {source}.", "groups:"]
    for group, inside in groups.items():
        if not inside:
            continue
        lines += [f"  - name: {group}", "    rules:"]
        for rule in inside:
            kind, name = ("record", rule.record) if rule.record else ("alert", rule.alert)
            lines += [f"      - {kind}: {name}", f"        expr: {_quoted(rule.expr)}"]
            if rule.wait and rule.wait != "0s":
                lines.append(f"        for: {rule.wait}")
            if rule.labels:
                lines.append("        labels:")
                lines += [f"          {key}: {_quoted(value)}" for key, value in rule.labels.items()]
            if rule.summary:
                lines += ["        annotations:", f"          summary: {_quoted(rule.summary)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text between YAML's single quotes, in which nothing but the quote itself means anything."""
    return "'" + text.replace("'", "''") + "'"
