"""The dashboard *Run*: a run while it goes on. Is the instrument sound, what do visitors feel, what goes wrong?"""

from __future__ import annotations

from harness.dashboards.model import Annotation, Dashboard, Meaning, Panel, Query, Row, Variable
from harness.dashboards.promql import code, eq, quantile, ratio, selector, total_rate
from harness.export.labels import PHASES, VERDICTS

ERROR_RESULTS = (
    "loading|throttled|rejected|client_error|server_error|redirect|timeout|connect_error|tls_error|reset|bad_reply"
)
BAD_OUTCOMES = "exhausted|rejected|failed|skipped|censored|dropped|lost"
_SETTLED = 'op="get_engagement",outcome=~"available|not_available|exhausted|rejected|failed"'
_TRIED = 'outcome=~"available|not_available|accepted|exhausted|rejected|failed"'
_CHAIN_TROUBLE = "renewed|revid|crossed|rejected|return_missed"

VERDICT_MEANINGS = (
    Meaning(0, "not yet", "text"),
    Meaning(1, "PASS", "green"),
    Meaning(2, "FAIL", "red"),
    Meaning(3, "INVALID", "yellow"),
)
_PHASE_MEANINGS = (
    Meaning(0, "none", "text"),
    *(Meaning(place, phase, "blue") for place, phase in enumerate(PHASES, 1)),
)
_HOLDS = (Meaning(0, "broken", "red"), Meaning(1, "holds", "green"))


def exact(measure: str, stat: str) -> str:
    """A statistic of the whole run so far, from the harness's own histogram."""
    return f"max({selector('harness_latency_seconds', eq(measure=measure, stat=stat))})"


def _stat(title: str, about: str, expr: str, *, unit: str = "short", **more: object) -> Panel:
    return Panel(
        title=title,
        about=about,
        queries=(Query(expr, title),),
        kind="stat",
        unit=unit,
        width=4,
        height=4,
        **more,  # type: ignore[arg-type]
    )


_HEAD = Row(
    "Verdict",
    (
        _stat(
            "Did it pass?",
            "The run's verdict, once there is one. INVALID means that the instrument was not sound: the figures say "
            "nothing about the target.",
            code("harness_verdict", "status", VERDICTS),
            meanings=VERDICT_MEANINGS,
        ),
        _stat(
            "Where is it?",
            "The phase of the run. What is measured in the warm-up is not judged.",
            code("harness_run_phase", "phase", PHASES),
            meanings=_PHASE_MEANINGS,
        ),
        _stat(
            "Is it available in the end?",
            "Share of getEngagement steps that became available, retries included; the whole run so far.",
            f"max({selector('harness_availability_ratio', eq(kind='eventual'))})",
            unit="percentunit",
        ),
        _stat(
            "How slow is it for 1 in 20?",
            "p95 of the response time of the whole run so far, exact; from the planned moment on.",
            exact("response_time", "p95"),
            unit="s",
        ),
        _stat(
            "Is the generator on time?",
            "p99 of the dispatch lag of the whole run so far: how late we ourselves were. Above 10 ms the run is "
            "INVALID by default.",
            exact("dispatch_lag", "p99"),
            unit="s",
            limits=((None, "green"), (0.01, "red")),
        ),
        _stat(
            "How many visits are open?",
            "Visits begun and not ended. If it grows without end, the target does not keep up.",
            f"sum({selector('harness_visits_open')})",
        ),
        Panel(
            title="Which thresholds hold?",
            about="Each threshold as far as there is data enough to judge it; at the end, as it was judged.",
            queries=(Query(f"max by (slo) ({selector('harness_slo_ok')})", "{{slo}}"),),
            kind="stat",
            width=18,
            height=4,
            meanings=_HOLDS,
        ),
        Panel(
            title="What is running?",
            about="The run's id, its trace and the version of the harness.",
            queries=(
                Query(
                    f"max by (run_id, scenario, trace, version) ({selector('harness_run_info')})",
                    "{{scenario}} · {{run_id}}",
                ),
            ),
            kind="stat",
            width=6,
            height=4,
            meanings=(Meaning(1, "on the page", "blue"),),
        ),
    ),
)

_INSTRUMENT = Row(
    "Is the instrument sound?",
    (
        Panel(
            title="Do visits arrive as planned?",
            about="Visits per second that were due and that began. A gap is the generator's fault, never the target's.",
            queries=(
                Query(total_rate("harness_arrivals_total", eq(kind="planned")), "planned", dashed=True),
                Query(total_rate("harness_arrivals_total", eq(kind="started")), "started"),
                Query(f"sum({selector('harness_planned_rate_hz')})", "the plan's rate now", dashed=True),
                Query(f"sum({selector('harness_achieved_rate_hz')})", "started, last second"),
            ),
            unit="reqps",
        ),
        Panel(
            title="How late are we ourselves?",
            about="Dispatch lag: started less planned. It stands beside the times below so that nobody takes our "
            "lateness for the target's.",
            queries=(
                Query(quantile(0.5, "dispatch_lag"), "p50"),
                Query(quantile(0.99, "dispatch_lag"), "p99"),
                Query(exact("dispatch_lag", "max"), "max so far", dashed=True),
            ),
            unit="s",
        ),
        Panel(
            title="Does the generator's loop stall?",
            about="How late the event loop woke up. A stall of 250 ms makes the run INVALID by default.",
            queries=(
                Query(quantile(0.99, "loop_delay"), "p99"),
                Query(exact("loop_delay", "max"), "max so far", dashed=True),
            ),
            unit="s",
        ),
        Panel(
            title="Has the generator CPU left?",
            about="Share of its one core that each worker used. Above 70 % a generator invents latency.",
            queries=(Query(f"max by (worker) ({selector('harness_worker_cpu_ratio')})", "{{worker}}"),),
            unit="percentunit",
            width=6,
            limits=((None, "green"), (0.7, "yellow"), (0.8, "red")),
        ),
        Panel(
            title="Are all workers there?",
            about="Workers by state. A lost worker makes the run INVALID unless the run tolerates it.",
            queries=(Query(f"sum by (state) ({selector('harness_workers')})", "{{state}}"),),
            width=6,
        ),
    ),
)

_TIMES = Row(
    "What do visitors feel?",
    (
        Panel(
            title="How long do replies take?",
            about="Response time: from the planned moment to the reply, so waiting in any queue counts. Requests "
            "without any reply are infinitely slow: a line at 60 s, the last edge, means never.",
            queries=(
                Query(quantile(0.5, "response_time"), "p50"),
                Query(quantile(0.95, "response_time"), "p95"),
                Query(quantile(0.99, "response_time"), "p99"),
            ),
            unit="s",
        ),
        Panel(
            title="Whose time is it?",
            about="p95 of the parts: dispatch lag is ours, connect time the network's and the target's, service time "
            "the target's.",
            queries=(
                Query(quantile(0.95, "response_time"), "response"),
                Query(quantile(0.95, "service_time"), "service"),
                Query(quantile(0.95, "connect_time"), "connect"),
                Query(quantile(0.95, "dispatch_lag"), "lag (ours)", dashed=True),
            ),
            unit="s",
        ),
        Panel(
            title="Which call is slow?",
            about="p95 of the response time by operation.",
            queries=(Query(quantile(0.95, "response_time", by="op"), "{{op}}"),),
            unit="s",
        ),
        Panel(
            title="How long until an engagement is available?",
            about="From a step's first planned moment to Available, retries and their pauses included; of those that "
            "got there.",
            queries=(
                Query(quantile(0.5, "time_to_available"), "p50"),
                Query(quantile(0.95, "time_to_available"), "p95"),
                Query(exact("time_to_available", "p99"), "p99 so far", dashed=True),
            ),
            unit="s",
        ),
    ),
)

_AVAILABILITY = Row(
    "Is it available?",
    (
        Panel(
            title="How many steps become available?",
            about="Eventual availability of the getEngagement steps settled in the window, and both ratios of the run "
            "so far.",
            queries=(
                Query(
                    ratio(
                        total_rate("harness_steps_total", eq(op="get_engagement", outcome="available")),
                        total_rate("harness_steps_total", _SETTLED),
                    ),
                    "in the window",
                ),
                Query(f"max by (kind) ({selector('harness_availability_ratio')})", "{{kind}}, so far", dashed=True),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Is any cohort worse off?",
            about="Eventual availability by cohort.",
            queries=(
                Query(
                    ratio(
                        total_rate("harness_steps_total", eq(op="get_engagement", outcome="available"), by="cohort"),
                        total_rate("harness_steps_total", _SETTLED, by="cohort"),
                    ),
                    "{{cohort}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            title="How do steps end?",
            about="Steps settled per second, by outcome.",
            queries=(Query(f"{total_rate('harness_steps_total', by='outcome')} > 0", "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            title="How do visits end?",
            about="Visits ended per second. Dropped ones were later than --max-lag; lost ones went with a worker.",
            queries=(Query(total_rate("harness_visits_total", by="outcome"), "{{outcome}}"),),
            stacked=True,
        ),
    ),
)

_ERRORS = Row(
    "What goes wrong?",
    (
        Panel(
            title="Which errors come back?",
            about="Attempts per second that came to neither an engagement reply nor an accepted update, by result.",
            queries=(
                Query(
                    total_rate("harness_attempts_total", f'result=~"{ERROR_RESULTS}"', by="result"),
                    "{{result}}",
                ),
            ),
            stacked=True,
            errors=True,
        ),
        Panel(
            title="How many attempts fail?",
            about="Share of attempts that were errors, by operation.",
            queries=(
                Query(
                    ratio(
                        total_rate("harness_attempts_total", f'result=~"{ERROR_RESULTS}"', by="op"),
                        total_rate("harness_attempts_total", by="op"),
                    ),
                    "{{op}}",
                ),
            ),
            unit="percentunit",
            errors=True,
        ),
        Panel(
            title="How much do retries add?",
            about="Attempts for each step that had one. 1 means no retries; what is above is load that the target "
            "made for itself.",
            queries=(
                Query(
                    ratio(total_rate("harness_attempts_total"), total_rate("harness_steps_total", _TRIED)),
                    "attempts a step",
                ),
            ),
        ),
        Panel(
            title="Which steps fail for good?",
            about="Steps per second that ended without what they asked for, by outcome.",
            queries=(
                Query(total_rate("harness_steps_total", f'outcome=~"{BAD_OUTCOMES}"', by="outcome"), "{{outcome}}"),
            ),
            stacked=True,
            errors=True,
        ),
        Panel(
            title="Do sessions keep their ids?",
            about="What replies did to the ids. Kept and started are as it should be; crossed is never the service's "
            "right.",
            queries=(Query(total_rate("harness_chain_total", by="event"), "{{event}}"),),
        ),
        Panel(
            title="Are ids lost or mixed up?",
            about="Ids renewed, exchanged, crossed or rejected, and visitors returned without their vid, per second.",
            queries=(Query(total_rate("harness_chain_total", f'event=~"{_CHAIN_TROUBLE}"', by="event"), "{{event}}"),),
            errors=True,
        ),
        Panel(
            title="Are connections kept?",
            about="Connections opened, reused and closed by the target, per second; full and resumed TLS handshakes.",
            queries=(Query(total_rate("harness_connections_total", by="event"), "{{event}}"),),
            width=24,
        ),
    ),
)


def _begins(phase: str) -> str:
    """A value at the moment in which the run entered a phase."""
    series = selector("harness_run_phase", eq(phase=phase))
    return f"({series} == 1) unless ({series} offset $__interval == 1)"


RUN = Dashboard(
    uid="harness-run",
    title="Engagement harness: run",
    about="A run while it goes on: is the instrument sound, what do visitors feel, what goes wrong?",
    rows=(_HEAD, _INSTRUMENT, _TIMES, _AVAILABILITY, _ERRORS),
    variables=(Variable(name="instance", label="Master", metric="harness_run_info"),),
    annotations=(
        Annotation(name="Start of the measured part", expr=_begins("measure"), title="measuring begins", colour="blue"),
        Annotation(name="End of the run", expr=_begins("ended"), title="the run ended", colour="purple"),
    ),
    since="now-15m",
    refresh="5s",
)
