"""SLO expressions: text such as `p99(response_time{op=get_engagement}) < 800ms` becomes a `Threshold`.

    p50(M) p99.9(M) p999(M) mean(M) max(M)   M: response_time service_time connect_time dispatch_lag loop_delay
                                                time_to_available                limits: 800ms 2s 150us
    ratio(NAME)        a step outcome, or else an attempt result                 limits: 99.5% 0.995
    availability(first|eventual)   of get_engagement steps                       limits: 99% 0.99
    rate(visits|attempts|steps)                                                  limits: 50/s 600/m
    retry_amplification()   attempts for each first attempt;   chain(EVENT)      limits: plain numbers

Labels narrow the subject: {op=…, cohort=…}; {result=error} asks for the error replies of response_time or service_time;
{of=attempts} makes ratio(available), ratio(not_available), ratio(accepted) and ratio(rejected) speak of attempts.

What a ratio is a share of: `available` and `not_available` of get_engagement steps, `accepted` and `skipped` of
updates, other outcomes of all steps (unless `op` says otherwise); censored and dropped steps are in the base only when
the ratio asks for them. An attempt result is a share of all attempts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.measure.names import CHAIN_EVENTS, MEASURES, RESULTS, SETTLED_STEPS
from harness.units import NS_PER_MS, NS_PER_S, NS_PER_US, parse_rate_hz

Function = Literal["quantile", "mean", "max", "ratio", "availability", "rate", "retry_amplification", "chain"]

_METRIC = re.compile(r"(?P<function>[a-z_]+[0-9.]*)\s*\(\s*(?P<subject>\w*)\s*(?:\{(?P<labels>[^{}]*)\})?\s*\)")
_SHAPE = re.compile(_METRIC.pattern + r"\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<limit>\S.*)")
_LABEL = re.compile(r"\s*(\w+)\s*=\s*\"?([A-Za-z0-9][\w.-]*)\"?\s*")
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|99\d+)")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m)")
_TIME_NS = {"us": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S}
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")

_SUBJECTS: dict[Function, tuple[str, ...]] = {
    "quantile": MEASURES,
    "mean": MEASURES,
    "max": MEASURES,
    "ratio": tuple(dict.fromkeys((*SETTLED_STEPS, *RESULTS))),
    "availability": ("first", "eventual"),
    "rate": ("visits", "attempts", "steps"),
    "retry_amplification": ("",),
    "chain": CHAIN_EVENTS,
}
_LABELS: dict[Function, tuple[str, ...]] = {
    "quantile": ("op", "cohort"),
    "mean": ("op", "cohort"),
    "max": ("op", "cohort"),
    "ratio": ("op", "cohort", "of"),
    "availability": ("op", "cohort"),
    "rate": ("op", "cohort"),
    "retry_amplification": ("op", "cohort"),
    "chain": (),
}
_LABELS_OF_SUBJECT: dict[str, tuple[str, ...]] = {
    "response_time": ("op", "cohort", "result"),
    "service_time": ("op", "cohort", "result"),
    "loop_delay": (),
    "time_to_available": ("op", "cohort"),
    "visits": ("cohort",),
}
_LABEL_VALUES = {
    "op": ("get_engagement", "update"),
    "result": ("ok", "error"),
    "of": ("steps", "attempts"),
}


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: the part of an SLO before its operator, parsed. `q` is set for quantiles (above 0, below 1)."""

    text: str
    function: Function
    subject: str
    q: float | None = None
    op: str | None = None
    cohort: str | None = None
    row: str = "ok"
    of: str = "steps"

    @property
    def timed(self) -> bool:
        """Whether its values are times."""
        return self.function in ("quantile", "mean", "max")


class Threshold(Metric, frozen=True, kw_only=True):
    """One SLO, parsed. `limit` is in ns for times, a ratio, events per second, or a plain number."""

    operator: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether `value`, in the unit of `limit`, meets the threshold."""
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
            "==": value == self.limit,
            "!=": value != self.limit,
        }[self.operator]


def parse_threshold(text: str) -> Threshold:
    """The threshold that `text` says. Raises `UsageError` with one line: what is wrong, and what could be said."""
    text = " ".join(text.split())
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _problem(text, "not a condition; write for example p99(response_time) < 800ms")
    metric = _metric(text, shape)
    return Threshold(
        **msgspec.structs.asdict(metric),
        operator=shape["operator"],
        limit=_limit(text, metric.function, shape["limit"]),
    )


def parse_metric(text: str) -> Metric:
    """What `text` such as `p99(response_time{op=update})` measures. Raises `UsageError` with one line."""
    text = " ".join(text.split())
    shape = _METRIC.fullmatch(text)
    if shape is None:
        raise _problem(text, "not a metric; write for example p99(response_time)", "metric")
    return _metric(text, shape, "metric")


def _metric(text: str, shape: re.Match[str], kind: str = "threshold") -> Metric:
    function, q = _function(text, shape["function"], kind)
    subject = shape["subject"]
    if subject not in _SUBJECTS[function]:
        known = ", ".join(_SUBJECTS[function]) or "nothing between the brackets"
        raise _problem(text, f"{shape['function']}({subject}) is not measured; known: {known}", kind)
    labels = _labels(text, shape["labels"] or "", _LABELS_OF_SUBJECT.get(subject, _LABELS[function]), kind)
    awaited = subject == "time_to_available" or function == "availability"
    if awaited and labels.get("op", "get_engagement") != "get_engagement":
        raise _problem(text, "only get_engagement steps become available", kind)
    op, of = _ratio_base(subject, labels) if function == "ratio" else (labels.get("op"), "steps")
    return Metric(
        text=text,
        function=function,
        subject=subject,
        q=q,
        op=op,
        cohort=labels.get("cohort"),
        row=labels.get("result", "ok"),
        of=of,
    )


def parse_thresholds(texts: Iterable[str]) -> list[Threshold]:
    """All thresholds, in order. Raises one `UsageError` that lists every problem at once."""
    thresholds, problems = [], []
    for text in texts:
        try:
            thresholds.append(parse_threshold(text))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(f"{len(problems)} of the thresholds cannot be read", problems)
    return thresholds


def threshold_texts(table: Mapping[str, object], origin: str) -> list[str]:
    """The conditions of a TOML table such as `"p99(response_time)" = "< 800ms"`; a list of limits gives several.

    Raises one `UsageError` that lists each value that is not text; `origin` names file and table.
    """
    texts, problems = [], []
    for subject, limits in table.items():
        for limit in limits if isinstance(limits, list) else [limits]:
            if isinstance(limit, str):
                texts.append(f"{subject} {limit}")
            else:
                problems.append(f"{origin}: '{subject}': the limit must be text such as \"< 800ms\", not {limit!r}")
    if problems:
        raise UsageError(f"{origin} cannot be used", problems)
    return texts


def parse_slo(toml: str, origin: str) -> list[Threshold]:
    """The thresholds of an SLO file's text: its `[slo]` table, or the whole file when there is none.

    Raises one `UsageError` that lists every problem, each with `origin` (the file's name).
    """
    try:
        document = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not a TOML file: {error}") from error
    table = document.get("slo", document)
    if not isinstance(table, dict) or not table:
        raise UsageError(f'{origin}: no thresholds; write [slo] and lines such as "p99(response_time)" = "< 800ms"')
    try:
        return parse_thresholds(threshold_texts(table, origin))
    except UsageError as error:
        problems = [problem if problem.startswith(origin) else f"{origin}: {problem}" for problem in error.problems]
        raise UsageError(f"{origin} cannot be used", problems) from error


def _problem(text: str, what: str, kind: str = "threshold") -> UsageError:
    return UsageError(f"{kind} '{text}': {what}")


def _function(text: str, name: str, kind: str) -> tuple[Function, float | None]:
    match = _QUANTILE.fullmatch(name)
    if match:
        digits = match[1]
        percent = Decimal(digits if len(digits) <= 2 or "." in digits else f"{digits[:2]}.{digits[2:]}")
        if percent == 0:
            raise _problem(text, "a percentile lies above 0 and below 100, such as p50, p99 or p99.9", kind)
        return "quantile", float(percent / 100)
    for function in _SUBJECTS:
        if name == function != "quantile":
            return function, None
    known = "p50 … p99.9, " + ", ".join(function for function in _SUBJECTS if function != "quantile")
    raise _problem(text, f"'{name}' is not a function; known: {known}", kind)


def _labels(text: str, body: str, allowed: tuple[str, ...], kind: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in body.split(",") if body.strip() else ():
        match = _LABEL.fullmatch(part)
        if match is None:
            raise _problem(text, f"'{part.strip()}' is not a label; write name=value", kind)
        name, value = match.groups()
        if name not in allowed:
            raise _problem(text, f"label '{name}' means nothing here; known: {', '.join(allowed) or 'none'}", kind)
        if name in labels:
            raise _problem(text, f"label '{name}' is given twice", kind)
        if value not in _LABEL_VALUES.get(name, (value,)):
            raise _problem(text, f"label '{name}' is one of {', '.join(_LABEL_VALUES[name])}, not '{value}'", kind)
        labels[name] = value
    return labels


def _ratio_base(subject: str, labels: Mapping[str, str]) -> tuple[str | None, str]:
    of = labels.get("of", "steps" if subject in SETTLED_STEPS else "attempts")
    natural = {
        "available": "get_engagement",
        "not_available": "get_engagement",
        "accepted": "update",
        "skipped": "update",
    }
    return labels.get("op", natural.get(subject)), of


def _limit(text: str, function: Function, limit: str) -> float:
    if function in ("quantile", "mean", "max"):
        match = _TIME.fullmatch(limit)
        if match is None:
            raise _problem(text, f"'{limit}' is not a time; write 150us, 800ms or 2s")
        return float(match[1]) * _TIME_NS[match[2]]
    if function in ("ratio", "availability"):
        match = _RATIO.fullmatch(limit)
        ratio = float(match[1]) / (100 if match[2] else 1) if match else -1.0
        if not 0 <= ratio <= 1:
            raise _problem(text, f"'{limit}' is not a ratio; write 99.5% or 0.995")
        return ratio
    if function == "rate":
        try:
            return parse_rate_hz(limit)
        except UsageError as error:
            raise _problem(text, str(error)) from error
    if _PLAIN.fullmatch(limit) is None:
        raise _problem(text, f"'{limit}' is not a plain number")
    return float(limit)
