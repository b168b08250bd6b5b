"""Which retry policy a recorded client followed, guessed from what it did.

Medians and plain counts, no fit: a policy is a handful of round numbers. What the recording cannot show (a budget
that was never spent) keeps the default of the shipped policy that comes closest.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import log
from statistics import median, quantiles
from typing import Any, Final

import msgspec

from harness.trace.intake.retries import Retries
from harness.units import NS_PER_MS, NS_PER_S
from harness.visitor.records import Result
from harness.visitor.retry import POLICIES, IdsOnRetry, RetryPolicy

NAME: Final = "recorded"
_RETRIABLE: Final = frozenset(result.name for result in Result) - {"available", "accepted", "internal_error"}
# Pauses closer than that (as a ratio) are one pause; a spread below half of it is the network's.
_ALIKE: Final = 0.12
# So many pauses are needed to speak of a spread, or to be more than an accident beside the first retry's.
_FEW: Final = 5


def guess_policy(retries: Retries) -> RetryPolicy | None:
    """The policy that explains the retries, under the name `recorded`; None when nothing was tried again.

    A result counts as retried when that happened at least as often as not. A limit of retries is taken from steps
    that gave up after equally many; where they did not, the longest of them gives the budget in seconds, and where
    none did, the budget is 60 s.
    """
    seen = {result: count for result, count in retries.again.items() if result in _RETRIABLE}
    retry_on = frozenset(result for result, count in seen.items() if count >= retries.left[result]) or frozenset(seen)
    pauses_ms = _medians_ms(retries.pauses_ns)
    if not retry_on or not pauses_ms:
        return None
    pauses = _pauses(pauses_ms, _jitter(retries.pauses_ns[1]))
    return RetryPolicy(name=NAME, retry_on=retry_on, ids_on_retry=_ids(retries), **pauses, **_end(retries, retry_on))


def nearest_policy(policy: RetryPolicy, retries: Retries, shipped: Mapping[str, RetryPolicy] = POLICIES) -> str | None:
    """The shipped policy that behaves like the guessed one, or None.

    It retries all that was retried and nothing that was left, and its first pauses are alike.
    """
    left = {result for result, count in retries.left.items() if count > retries.again[result]}
    several = len(_medians_ms(retries.pauses_ns)) > 1
    for known in shipped.values():
        if not policy.retry_on <= known.retry_on or left & known.retry_on:
            continue
        pairs = [(_nth_ms(policy, number), _nth_ms(known, number)) for number in ((1, 2) if several else (1,))]
        if all(abs(log(found / expected)) <= 2 * _ALIKE for found, expected in pairs):
            return known.name
    return None


def profile_table(policy: RetryPolicy) -> str:
    """The policy as a profile's table, to be pasted: every field that is not the default."""
    lines = [f"[retry.{policy.name}]", f"retry_on = [{', '.join(map(_quoted, sorted(policy.retry_on)))}]"]
    for field in msgspec.structs.fields(RetryPolicy):
        value = getattr(policy, field.name)
        if field.name in ("name", "retry_on") or value == field.default:
            continue
        if isinstance(value, tuple):
            lines.append(f"{field.name} = [{', '.join(f'{item:g}' for item in value)}]")
        elif isinstance(value, str):
            lines.append(f"{field.name} = {_quoted(value)}")
        else:
            lines.append(f"{field.name} = {value:g}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _medians_ms(pauses_ns: Mapping[int, list[int]]) -> list[float]:
    """The median pause before the first, second … retry, as far as there are enough of them to go by."""
    needed = _FEW if len(pauses_ns.get(1, ())) >= 2 * _FEW else 1
    medians: list[float] = []
    while len(pauses_ns.get(len(medians) + 1, ())) >= needed:
        medians.append(max(median(pauses_ns[len(medians) + 1]) / NS_PER_MS, 0.01))
    return medians


def _pauses(pauses_ms: list[float], jitter: float) -> dict[str, Any]:
    """The fields for the pauses: a geometric growth up to a cap where that explains them, else one by one."""
    ratios = [after / before for before, after in pairwise(pauses_ms)]
    growing = [ratio for ratio in ratios if ratio > 1 + _ALIKE]
    factor = round(20 * median(growing)) / 20 if growing else 1.0
    capped = bool(growing) and ratios[-1] <= 1 + _ALIKE
    most_ms = max(pauses_ms) if capped else None
    expected = [min(pauses_ms[0] * factor**number, most_ms or 1e12) for number in range(len(pauses_ms))]
    tolerance = _ALIKE + jitter / 2
    if all(abs(log(seen / told)) <= tolerance for seen, told in zip(pauses_ms, expected, strict=True)):
        fields: dict[str, Any] = {"first_ms": _round(pauses_ms[0]), "factor": factor, "jitter": jitter}
        return fields | ({"max_ms": _round(most_ms)} if most_ms is not None else {})
    return {"delays_ms": tuple(_round(pause) for pause in pauses_ms), "jitter": jitter}


def _jitter(pauses_ns: list[int]) -> float:
    """Half the spread of the first pause, as a share of it; 0 where it is no more than a network's."""
    if len(pauses_ns) < 2 * _FEW:
        return 0.0
    # A uniform draw has 90 % of its range between these two.
    twentieths = quantiles(pauses_ns, n=20)
    share = (twentieths[-1] - twentieths[0]) / 0.9 / 2 / max(median(pauses_ns), 1)
    return round(20 * share) / 20 if share > _ALIKE / 2 else 0.0


def _end(retries: Retries, retry_on: frozenset[str]) -> dict[str, Any]:
    """The fields for the end of trying."""
    numbers = {number for (result, number), _ in retries.gave_up.items() if result in retry_on}
    steps = sum(count for (result, _), count in retries.gave_up.items() if result in retry_on)
    if len(numbers) == 1 and steps > 1:
        return {"max_retries": numbers.pop()}
    longest_ns = max((retries.spans_ns[result] for result in retry_on & retries.spans_ns.keys()), default=0)
    return {"budget_s": float(max(1, round(longest_ns / NS_PER_S))) if steps > 1 else 60.0}


def _ids(retries: Retries) -> IdsOnRetry:
    if retries.hinted and 2 * retries.hint_taken >= retries.hinted:
        return "hint"
    return "none" if retries.ids_dropped * 2 > retries.with_ids else "keep"


def _nth_ms(policy: RetryPolicy, number: int) -> float:
    return policy.delay_ns(number, Result.loading, 0, 0.0) / NS_PER_MS


def _round(value_ms: float) -> float:
    """Two digits: nobody sets a pause of 101.3 ms."""
    return float(f"{value_ms:.2g}")
