"""`Story`: a summary in the order in which people should read it, still free of any format.

The order is an argument: first the verdict and why, then whether the instrument may be believed, then what the visitors
met: visits, steps and their times, retries and errors, chain; then how that compares with earlier runs, and a few
visits whole. Text, Markdown and HTML show the same story; all strings
in it are cleaned (`words.clean`), none is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.judge.check import quantity as judged_quantity
from harness.report.exemplars import exemplars_section
from harness.report.nights import comparison_section
from harness.report.parts import Section, Story, Table
from harness.report.words import (
    MEASURES,
    NOTHING,
    clean,
    integer,
    joined,
    name,
    number,
    percent,
    percentile,
    quantity,
)

# Keys of a latency block and of a worker, with the heads of their columns.
STATS = {
    "count": "count",
    "mean": "mean",
    "p50": "p50",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "p999": "p99.9",
    "max": "max",
}
_WORKER = {
    "id": "worker",
    "dealt": "dealt",
    "completed": "completed",
    "censored": "censored",
    "dropped": "dropped",
    "lost": "lost",
    "revoked": "revoked",
    "clock_offset_ms": "clock offset ms",
    "clock_error_ms": "± ms",
    "clock_drift_ms": "drift ms",
    "cpu_s": "CPU s",
    "rss_max_mb": "RSS MB",
}


def tell(summary: Mapping[str, Any]) -> Story:
    """The story of a summary (schema harness.summary/1); whatever the summary leaves out, the story leaves out too."""
    verdict = summary.get("verdict", {})
    checks = verdict.get("checks", [])
    failed = [check for check in checks if not check["ok"]]
    return Story(
        status=clean(verdict.get("status", NOTHING)),
        exit_code=number(verdict.get("exit_code")),
        run_id=clean(summary.get("run_id", NOTHING)),
        about=_about(summary),
        why=[_reason(check) for check in failed]
        or [f"all {len(checks)} checks hold" if checks else "nothing was judged"],
        # The advice stands with the check; the first line has room for what was seen.
        cause=clean(": ".join(str(verdict.get("cause", "")).split(": ")[:2])),
        sections=[
            _verdict([check for check in checks if check["kind"] != "validity"]),
            _instrument(summary, [check for check in checks if check["kind"] == "validity"]),
            _visits(summary),
            _steps(summary),
            _times(summary),
            _availability(summary),
            _retries(summary),
            _chain(summary),
            *comparison_section(summary),
            *exemplars_section(summary),
        ],
    )


def _about(summary: Mapping[str, Any]) -> str:
    config = summary.get("config", {})
    parts = [
        clean(config.get("scenario") or ""),
        clean(summary.get("started_at", "")),
        f"{number(summary['duration_s'])} s" if "duration_s" in summary else "",
        f"{clean(summary['load_model'])} load" if "load_model" in summary else "",
        f"seed {summary['seed']}" if "seed" in summary else "",
        f"target {clean(config['target'])}" if config.get("target") else "",
        "certificate NOT verified (--insecure)" if _unverified(config) else "",
    ]
    return " · ".join(part for part in parts if part)


def _unverified(config: Mapping[str, Any]) -> bool:
    return bool(config.get("insecure")) and str(config.get("target", "")).startswith("https:")


def _reason(check: Mapping[str, Any]) -> str:
    observed = quantity(check.get("observed"), check.get("unit"))
    return f"{clean(check['kind'])}: {clean(check['name'])}: {clean(check.get('message') or observed)}"


def _remark(check: Mapping[str, Any]) -> str:
    """The check's message, unless it only says the observed value again."""
    observed, message = check.get("observed"), check.get("message") or ""
    repeats = observed is not None and message == judged_quantity(observed, check.get("unit", ""))
    return "" if repeats else clean(message)


def _checks(title: str, checks: Sequence[Mapping[str, Any]]) -> list[Table]:
    rows = [
        [
            "ok" if check["ok"] else "FAILED",
            clean(check["name"]),
            quantity(check.get("observed"), check.get("unit")),
            quantity(check.get("limit"), check.get("unit")),
            _remark(check),
        ]
        for check in checks
    ]
    return [Table(title, ("", "check", "observed", "limit", "remark"), rows, texts=5)] if rows else []


def _verdict(checks: Sequence[Mapping[str, Any]]) -> Section:
    regressions = [check for check in checks if check["kind"] == "regression"]
    thresholds = [check for check in checks if check["kind"] != "regression"]
    lead = [f"{_held(thresholds)} thresholds hold." if thresholds else "No threshold was given."]
    if regressions:
        lead.append(f"{_held(regressions)} comparisons with earlier runs hold.")
    tables = [*_checks("Thresholds", thresholds), *_checks("Comparisons", regressions)]
    return Section("verdict", "Verdict", lead, tables)


def _held(checks: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(1 for check in checks if check['ok'])} of {len(checks)}"


def _losses(summary: Mapping[str, Any], generator: Mapping[str, Any]) -> list[str]:
    """What the reader must know about the load besides the checks: workers lost, tolerated or not, and ceilings met."""
    said = []
    if generator.get("workers_lost"):
        visits = summary.get("visits", {}).get("lost", 0)
        said.append(
            f"Workers lost: {generator['workers_lost']}, and with them {visits} visits (journal.jsonl has them)."
        )
    if generator.get("held"):
        held = ", ".join(f"{clean(limit)} {integer(n)}" for limit, n in sorted(generator["held"].items()))
        said.append(f"Held back by the profile's limits: {held}.")
    return said


def _instrument(summary: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> Section:
    rates, generator = summary.get("rates", {}), summary.get("generator", {})
    held = sum(1 for check in checks if check["ok"])
    lead = []
    if checks:
        lead.append(f"{held} of {len(checks)} validity checks hold.")
    if "achieved_visits_hz" in rates:
        planned = f" of {number(rates['planned_visits_hz'])}/s planned" if "planned_visits_hz" in rates else ""
        attempts = f", {number(rates['attempts_hz'])} attempts/s" if "attempts_hz" in rates else ""
        lead.append(f"{number(rates['achieved_visits_hz'])} visits/s begun{planned}{attempts}.")
    if generator:
        facts = {
            "workers": integer(generator.get("workers")),
            "CPU time": quantity(generator.get("cpu_s"), "s"),
            "attempts per CPU-second": number(generator.get("attempts_per_cpu_s")),
            "busiest worker": percent(generator.get("cpu_max_ratio")),
            "longest stall": quantity(generator.get("loop_stall_max_ms"), "ms"),
        }
        known = ", ".join(f"{label} {value}" for label, value in facts.items() if value != NOTHING)
        lead.append(f"{known[:1].upper()}{known[1:]}.")
        lead += _losses(summary, generator)
    rows = [[number(worker.get(key)) for key in _WORKER] for worker in summary.get("workers", [])]
    workers = [Table("Workers", tuple(_WORKER.values()), rows)] if rows else []
    return Section("instrument", "Instrument", lead, _checks("Validity", checks), workers)


def _equation(block: Mapping[str, Any]) -> str:
    parts = {word: count for word, count in block.items() if word != "planned"}
    return f"{integer(block.get('planned'))} planned = {joined(parts, ' + ')}."


def _visits(summary: Mapping[str, Any]) -> Section:
    return Section("visits", "Visits", [_equation(summary["visits"])] if "visits" in summary else ["Not measured."])


def _steps(summary: Mapping[str, Any]) -> Section:
    lead = [_equation(summary["steps"])] if "steps" in summary else ["Not measured."]
    detail = []
    for key, head in (("by_op", "operation"), ("by_cohort", "cohort")):
        blocks = {label: block["steps"] for label, block in summary.get(key, {}).items() if block.get("steps")}
        columns = list(dict.fromkeys(word for block in blocks.values() for word, count in block.items() if count))
        rows = [[name(label), *(integer(block.get(word, 0)) for word in columns)] for label, block in blocks.items()]
        if rows:
            detail.append(Table(f"Steps by {head}", (head, *(name(word) for word in columns)), rows))
    return Section("steps", "Steps", lead, [], detail)


def _latency_rows(latency: Mapping[str, Any], measures: Iterable[str], label: str = "") -> list[list[str]]:
    rows = []
    for measure in measures:
        block = latency.get(measure)
        if block:
            cells = (integer(block.get(stat)) if stat == "count" else percentile(block, stat) for stat in STATS)
            rows.append([label or name(measure), *cells])
    return rows


def _times(summary: Mapping[str, Any]) -> Section:
    latency = summary.get("latency_ms", {})
    heads = tuple(STATS.values())
    tables = [Table("Times in ms", ("measure", *heads), _latency_rows(latency, MEASURES))] if latency else []
    lead = []
    waiting = latency.get("time_to_available", {})
    if waiting.get("censored") or waiting.get("never"):
        lead.append(
            f"Time to available: {integer(waiting.get('censored', 0))} steps were cut off before they were available, "
            f"{integer(waiting.get('never', 0))} never would be; the percentiles reckon with both."
        )
    if any("beyond_ms" in block for block in latency.values()):
        lead.append(
            "A value marked > falls on requests that got no reply, or were never available: it lies beyond the rest."
        )
    detail = []
    for key, head in (("by_op", "operation"), ("by_cohort", "cohort")):
        for measure in ("response_time", "time_to_available"):
            rows = [
                row
                for label, block in summary.get(key, {}).items()
                for row in _latency_rows(block.get("latency_ms", {}), (measure,), name(label))
            ]
            if rows:
                detail.append(Table(f"{name(measure).capitalize()} in ms by {head}", (head, *heads), rows))
    return Section("times", "Times", lead, tables, detail)


def _availability(summary: Mapping[str, Any]) -> Section:
    block = summary.get("availability", {})
    lead = []
    for kind, text in (("first_attempt", "at the first attempt"), ("eventual", "in the end")):
        if block.get(f"{kind}_ratio") is not None:
            ci95 = block.get(f"{kind}_ci95")
            interval = f" (95 % interval {percent(ci95[0])} to {percent(ci95[1])})" if ci95 else ""
            lead.append(f"{percent(block[f'{kind}_ratio'])} available {text}{interval}.")
    return Section("availability", "Availability", lead or ["Not measured."])


def _retries(summary: Mapping[str, Any]) -> Section:
    attempts = summary.get("attempts", {})
    lead = []
    if attempts:
        lead.append(f"{integer(attempts.get('total'))} attempts: {joined(attempts.get('by_result', {}))}.")
    amplification = summary.get("rates", {}).get("retry_amplification")
    if amplification is not None:
        lead.append(f"{number(amplification)} attempts for each step begun.")
    rows = [
        [
            integer(error["count"]),
            name(error["op"]),
            name(error["result"]),
            number(error.get("http_status") or None),
            NOTHING if error.get("code") in (None, -1) else str(error["code"]),
            clean(error.get("message") or ""),
        ]
        for error in summary.get("errors", [])
    ]
    heads = ("count", "operation", "result", "status", "code", "message")
    errors = [Table("Errors", heads, rows, texts=6)] if rows else []
    return Section("retries", "Attempts and errors", lead or ["Not measured."], errors)


def _chain(summary: Mapping[str, Any]) -> Section:
    lead = []
    if "chain" in summary:
        crossed = summary["chain"].get("crossed", 0)
        lead.append(f"Ids: {joined(summary['chain'])}; {integer(crossed) if crossed else 'none'} crossed.")
    if "connections" in summary:
        lead.append(f"Connections: {joined(summary['connections'])}.")
    return Section("chain", "Chain", lead or ["Not measured."])
