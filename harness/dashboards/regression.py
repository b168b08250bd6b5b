"""The dashboard *Regression*: nights of a scenario against what the nights before them scatter.

It works on what `harness history export --openmetrics` writes: one sample a run and series, at the run's start.
"""

from __future__ import annotations

from harness.dashboards.model import Dashboard, Meaning, Panel, Query, Row, Variable
from harness.dashboards.promql import eq, selector

SCENARIO = 'scenario=~"$scenario"'
_P95 = "p95(response_time)"


_EXITS = (
    Meaning(0, "PASS", "green"),
    Meaning(1, "internal error", "red"),
    Meaning(3, "FAIL", "red"),
    Meaning(4, "FAIL: regression", "red"),
    Meaning(5, "INVALID", "yellow"),
    Meaning(6, "stopped by a guard", "red"),
    Meaning(7, "unreachable", "red"),
    Meaning(130, "interrupted", "text"),
)


def _last(name: str, matchers: str, window: str = "$__interval") -> str:
    return f"last_over_time({selector(name, matchers, SCENARIO)}[{window}])"


def _count(matchers: str = "") -> str:
    """How many runs there are in the range."""
    return f"sum(sum_over_time({selector('harness_history_verdict', matchers, SCENARIO)}[$__range]))"


def _nights(title: str, about: str, metric: str, unit: str, width: int = 12) -> Panel:
    """A metric night by night, the band of its baseline, and where its level moved."""
    of = eq(metric=metric)

    def bound(name: str) -> str:
        return _last("harness_history_baseline", f'{of},bound="{name}"')

    value = _last("harness_history_value", of)
    return Panel(
        title=title,
        about=about,
        queries=(
            Query(bound("high"), "band, high", dashed=True, band_to="band, low"),
            Query(bound("low"), "band, low", dashed=True),
            Query(bound("median"), "median of the baseline", dashed=True),
            Query(value, "the night"),
            Query(f"{value} and {_last('harness_history_change_ratio', of)}", "the level moved", points=True),
        ),
        unit=unit,
        width=width,
        least_interval="1d",
    )


_LAST = Row(
    "Last night",
    (
        Panel(
            title="Did the last night pass?",
            about="How the newest run in the range ended; of several scenarios, the worst.",
            queries=(Query(f"max({_last('harness_history_exit_code', '', '$__range')})", "verdict"),),
            kind="stat",
            width=6,
            height=4,
            meanings=_EXITS,
        ),
        Panel(
            title="How far off the baseline is p95?",
            about="p95 of the response time of the newest run, against the median of its baseline.",
            queries=(
                Query(
                    f"{_last('harness_history_value', eq(metric=_P95), '$__range')} / on(scenario) "
                    f"{_last('harness_history_baseline', eq(metric=_P95, bound='median'), '$__range')} - 1",
                    "{{scenario}}",
                ),
            ),
            kind="stat",
            unit="percentunit",
            width=6,
            height=4,
            limits=((None, "green"), (0.05, "yellow"), (0.1, "red")),
        ),
        Panel(
            title="How many runs are there?",
            about="Runs in the range, the invalid ones included; those do not enter the baseline.",
            queries=(
                Query(_count(), "all"),
                Query(_count(eq(status="INVALID")), "invalid"),
            ),
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="How often did the level move?",
            about="Change points in the range, by metric.",
            queries=(
                Query(
                    "sum by (metric) (count_over_time("
                    f"{selector('harness_history_change_ratio', '', SCENARIO)}[$__range])) or sum by (metric) "
                    f"(count_over_time({selector('harness_history_value', '', SCENARIO)}[$__range])) * 0",
                    "{{metric}}",
                ),
            ),
            kind="stat",
            width=6,
            height=4,
        ),
    ),
)

_NIGHTS = Row(
    "Night by night",
    (
        _nights(
            "Does p95 leave its band?",
            "p95 of the response time. Outside the band is a jump; a change point is a level that moved, also slowly.",
            "p95(response_time)",
            "s",
        ),
        _nights("Does the median leave its band?", "p50 of the response time.", "p50(response_time)", "s"),
        _nights("Does p99 leave its band?", "p99 of the response time.", "p99(response_time)", "s"),
        _nights(
            "Does it take longer to become available?",
            "p95 of the time to available, retries included.",
            "p95(time_to_available)",
            "s",
        ),
        _nights(
            "Does availability leave its band?",
            "Eventual availability of getEngagement steps.",
            "availability(eventual)",
            "percentunit",
        ),
        Panel(
            title="Which nights were not sound?",
            about="Runs by verdict. An INVALID run says nothing about the target and never enters a baseline.",
            queries=(
                Query(
                    f"max by (status) ({_last('harness_history_verdict', '')})",
                    "{{status}}",
                    points=True,
                ),
            ),
            least_interval="1d",
        ),
    ),
)

REGRESSION = Dashboard(
    uid="harness-regression",
    title="Engagement harness: regression",
    about="Nights of a scenario against the band of their baseline, and the points where a level moved.",
    rows=(_LAST, _NIGHTS),
    variables=(Variable(name="scenario", label="Scenario", metric="harness_history_value"),),
    since="now-90d",
)
