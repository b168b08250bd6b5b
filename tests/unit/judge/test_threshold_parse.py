"""SLO expressions: what each form means, and one line for everything that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.judge.threshold import Threshold, parse_slo, parse_threshold, parse_thresholds, threshold_texts


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "p99(response_time{op=get_engagement,cohort=mobile}) < 800ms",
            {"function": "quantile", "q": 0.99, "subject": "response_time", "op": "get_engagement", "cohort": "mobile",
             "operator": "<", "limit": 800e6},
        ),
        ("p95(time_to_available)<2s", {"function": "quantile", "q": 0.95, "subject": "time_to_available",
                                       "operator": "<", "limit": 2e9}),
        ("p999(service_time) <= 150us", {"function": "quantile", "q": 0.999, "subject": "service_time",
                                         "operator": "<=", "limit": 150e3}),
        ("p99.9(loop_delay) < 1.5ms", {"function": "quantile", "q": 0.999, "subject": "loop_delay", "operator": "<",
                                       "limit": 1.5e6}),
        ("p5(connect_time) < 1m", {"function": "quantile", "q": 0.05, "subject": "connect_time", "operator": "<",
                                   "limit": 60e9}),
        ('mean( response_time{ result = "error" } ) < 1s', {"function": "mean", "subject": "response_time",
                                                            "row": "error", "operator": "<", "limit": 1e9}),
        ("max(dispatch_lag) < 1s", {"function": "max", "subject": "dispatch_lag", "operator": "<", "limit": 1e9}),
        ("ratio(available) > 99.5%", {"function": "ratio", "subject": "available", "op": "get_engagement",
                                      "operator": ">", "limit": 0.995}),
        ("ratio(accepted) >= 0.9", {"function": "ratio", "subject": "accepted", "op": "update", "operator": ">=",
                                    "limit": 0.9}),
        ("ratio(available{of=attempts}) > 50 %", {"function": "ratio", "subject": "available", "op": "get_engagement",
                                                  "of": "attempts", "operator": ">", "limit": 0.5}),
        ("ratio(timeout) == 0", {"function": "ratio", "subject": "timeout", "of": "attempts", "operator": "==",
                                 "limit": 0.0}),
        ("availability(eventual{cohort=mobile}) > 99%", {"function": "availability", "subject": "eventual",
                                                         "cohort": "mobile", "operator": ">", "limit": 0.99}),
        ("rate(visits) > 120/m", {"function": "rate", "subject": "visits", "operator": ">", "limit": 2.0}),
        ("retry_amplification() < 1.5", {"function": "retry_amplification", "subject": "", "operator": "<",
                                         "limit": 1.5}),
        ("chain(crossed) == 0", {"function": "chain", "subject": "crossed", "operator": "==", "limit": 0.0}),
    ],
)  # fmt: skip
def test_forms(text: str, meaning: dict[str, Any]) -> None:
    """Every documented form is read as it is meant."""
    assert parse_threshold(text) == Threshold(text=" ".join(text.split()), **meaning)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a condition"),
        ("p99(response_time)", "not a condition"),
        ("p99 response_time < 1s", "not a condition"),
        ("p99(response_time) < 800", "'800' is not a time"),
        ("p99(response_time) < fast", "'fast' is not a time"),
        ("p0(response_time) < 1s", "percentile lies above 0"),
        ("p100(response_time) < 1s", "'p100' is not a function"),
        ("quantile(response_time) < 1s", "'quantile' is not a function"),
        ("p99(latency) < 1s", "p99(latency) is not measured"),
        ("ratio(lost) < 1%", "ratio(lost) is not measured"),
        ("ratio(available) > 150%", "'150%' is not a ratio"),
        ("availability(second) > 1%", "availability(second) is not measured"),
        ("rate(visits) > never", "'never' is not a rate"),
        ("chain(crossed) == 0ms", "'0ms' is not a plain number"),
        ("p99(response_time{op=delete}) < 1s", "label 'op' is one of get_engagement, update"),
        ("p99(response_time{colour=red}) < 1s", "label 'colour' means nothing here"),
        ("p99(response_time{op}) < 1s", "'op' is not a label"),
        ("p99(response_time{op=update,op=update}) < 1s", "given twice"),
        ("p99(loop_delay{op=update}) < 1s", "label 'op' means nothing here; known: none"),
        ("p99(dispatch_lag{result=error}) < 1s", "label 'result' means nothing here"),
        ("rate(visits{op=update}) > 1/s", "label 'op' means nothing here; known: cohort"),
        ("p99(time_to_available{op=update}) < 1s", "only get_engagement steps become available"),
    ],
)
def test_problems(text: str, complaint: str) -> None:
    """A text that cannot be read is named, with what is wrong, on one line."""
    with pytest.raises(UsageError) as raised:
        parse_threshold(text)
    line = str(raised.value)
    assert complaint in line and f"'{' '.join(text.split())}'" in line and "\n" not in line


def test_all_problems_at_once() -> None:
    """Every unreadable threshold of a list is reported, the readable ones are not."""
    wrong = ["p99(latency) < 1s", "mean(response_time) < 1"]
    with pytest.raises(UsageError) as raised:
        parse_thresholds([wrong[0], "p99(response_time) < 1s", wrong[1]])
    assert [problem.split("'")[1] for problem in raised.value.problems] == wrong


def test_slo_file() -> None:
    """A file's `[slo]` table, or the bare lines, give the thresholds in order; a list gives several."""
    lines = '"p99(response_time)" = "< 800ms"\n"ratio(available)" = ["> 90%", "<= 100%"]\n'
    texts = ["p99(response_time) < 800ms", "ratio(available) > 90%", "ratio(available) <= 100%"]
    assert [threshold.text for threshold in parse_slo(f"[slo]\n{lines}", "slo.toml")] == texts
    assert [threshold.text for threshold in parse_slo(lines, "slo.toml")] == texts


@pytest.mark.parametrize("toml", ["", "[slo]\n", "[slo\n", "slo = 3\n"])
def test_unusable_slo_file(toml: str) -> None:
    """An empty, broken or shapeless file raises one line that names it."""
    with pytest.raises(UsageError, match=r"^slo\.toml"):
        parse_slo(toml, "slo.toml")


def test_slo_file_names_each_problem() -> None:
    """Limits that are no text, and conditions that cannot be read, are each listed with the file's name."""
    with pytest.raises(UsageError) as raised:
        threshold_texts({"p99(response_time)": 800, "mean(response_time)": "< 1s"}, "slo.toml")
    assert raised.value.problems == (
        "slo.toml: 'p99(response_time)': the limit must be text such as \"< 800ms\", not 800",
    )
    with pytest.raises(UsageError) as raised:
        parse_slo('"p99(latency)" = "< 1s"\n"mean(response_time)" = "< 1"', "slo.toml")
    assert [problem.startswith("slo.toml: threshold") for problem in raised.value.problems] == [True, True]
