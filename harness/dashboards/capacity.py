"""The dashboard *Capacity*: how much the target takes. For runs that hold several rates, and for a capacity search."""

from __future__ import annotations

from harness.dashboards.model import Dashboard, Meaning, Panel, Query, Row, Variable
from harness.dashboards.promql import eq, selector

_HOLDS = (Meaning(0, "broken", "red"), Meaning(1, "held", "green"))


def _step(name: str, matchers: str = "") -> str:
    return f"max({selector(f'harness_capacity_step_{name}', matchers)})"


def _bound(bound: str) -> str:
    return f"max(last_over_time({selector('harness_capacity_rate_hz', eq(bound=bound))}[$__range]))"


def _law(parameter: str) -> str:
    """A parameter of the law as it was found last in the range."""
    return f"max(last_over_time({selector('harness_capacity_usl', eq(parameter=parameter))}[$__range] @ end()))"


def _sweep() -> str:
    """Concurrencies from near 0 to the highest one measured, spread over the range that is shown."""
    highest = f"max(max_over_time({selector('harness_capacity_step_concurrency')}[$__range] @ end()))"
    return f"{highest} * (0.02 + 0.98 * (time() - $__from / 1000) / $__range_s)"


def _curve() -> str:
    """The law at the concurrencies of the sweep."""
    n = f"({_sweep()})"
    return f"{_law('lambda')} * {n} / (1 + {_law('sigma')} * ({n} - 1) + {_law('kappa')} * {n} * ({n} - 1))"


_ANSWER = Row(
    "How much more?",
    (
        Panel(
            title="What does it take?",
            about="The rate that a search held for the whole time at its end; until then, and where there is none, the "
            "highest rate that held every threshold, no lower one being broken. Visits per second.",
            queries=(Query(f"{_bound('estimate')} or {_bound('at_least')}", "visits/s"),),
            kind="stat",
            unit="reqps",
            width=4,
            height=4,
        ),
        Panel(
            title="Is it confirmed?",
            about="Confirmed: a search found the border itself. At least: it may take more; the generator, --max or "
            "the budget was the limit, or the search goes on.",
            queries=(Query(f"{_bound('estimate')} > bool 0 or {_bound('at_least')} < bool 0", "answer"),),
            kind="stat",
            width=4,
            height=4,
            meanings=(Meaning(0, "at least", "yellow"), Meaning(1, "confirmed", "green")),
        ),
        Panel(
            title="What is too much?",
            about="The lowest rate at which a threshold was broken; visits per second.",
            queries=(Query(_bound("below"), "below"),),
            kind="stat",
            unit="reqps",
            width=4,
            height=4,
        ),
        Panel(
            title="How much headroom is there?",
            about="What it takes for sure, against the peak that you expect (the number above): 100 % means that twice "
            "the peak would be fine.",
            queries=(Query(f"{_bound('at_least')} / $expected - 1", "headroom"),),
            kind="stat",
            unit="percentunit",
            width=6,
            height=4,
            limits=((None, "red"), (0.0, "yellow"), (0.3, "green")),
        ),
        Panel(
            title="Where does it turn?",
            about="The knee of the scalability law: with more attempts in flight, fewer are done. No value where the "
            "steps do not reach it.",
            queries=(Query(_law("knee"), "attempts in flight"), Query(_law("peak"), "steps/s at best")),
            kind="stat",
            width=6,
            height=4,
        ),
    ),
)

_STEPS = Row(
    "What does each rate do?",
    (
        Panel(
            title="How slow does it get with the rate?",
            about="Response time of each step against its planned rate. A bend upwards is a queue.",
            queries=(
                Query(_step("rate_hz"), "rate"),
                Query(_step("latency_seconds", eq(stat="p50")) + " < Inf", "p50", against="rate"),
                Query(_step("latency_seconds", eq(stat="p95")) + " < Inf", "p95", against="rate"),
            ),
            kind="xychart",
            unit="s",
            x_title="visits/s planned",
        ),
        Panel(
            title="How available is it with the rate?",
            about="Eventual availability of each step against its planned rate.",
            queries=(
                Query(_step("rate_hz"), "rate"),
                Query(_step("availability_ratio"), "availability", against="rate"),
            ),
            kind="xychart",
            unit="percentunit",
            x_title="visits/s planned",
        ),
        Panel(
            title="How does throughput follow concurrency?",
            about="Goodput (steps available or accepted per second) against the mean number of attempts in flight: "
            "the steps, and the Universal Scalability Law through them.",
            queries=(
                Query(_step("concurrency"), "in flight"),
                Query(_step("goodput_hz"), "measured", points=True, against="in flight"),
                Query(_sweep(), "in flight, swept"),
                Query(_curve(), "law", against="in flight, swept"),
            ),
            kind="xychart",
            unit="short",
            x_title="attempts in flight",
        ),
        Panel(
            title="Which threshold breaks first?",
            about="The thresholds in the newest finished step, over the time of the run.",
            queries=(Query(f"max by (slo) ({selector('harness_capacity_step_ok')})", "{{slo}}"),),
            meanings=_HOLDS,
        ),
        Panel(
            title="Which steps were there?",
            about="Planned and begun visits per second and useful steps per second, of the newest finished step.",
            queries=(
                Query(_step("rate_hz"), "planned", dashed=True),
                Query(_step("achieved_hz"), "begun"),
                Query(_step("goodput_hz"), "useful steps"),
            ),
        ),
        Panel(
            title="How slow is the slowest percent?",
            about="p99 of the response time in the newest finished step.",
            queries=(Query(_step("latency_seconds", eq(stat="p99")) + " < Inf", "p99"),),
            unit="s",
        ),
    ),
)

CAPACITY = Dashboard(
    uid="harness-capacity",
    title="Engagement harness: capacity",
    about="How much the target takes: every rate that a run held, one step after another.",
    rows=(_ANSWER, _STEPS),
    variables=(
        Variable(name="instance", label="Master", metric="harness_run_info"),
        Variable(name="expected", label="Expected peak, visits/s", default="50"),
    ),
    since="now-1h",
    refresh="10s",
)
