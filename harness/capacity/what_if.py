"""What-if questions: the same plan with another retry policy, against a service that is available more or less often.

A question is `retry=none,sdk-sample` or `availability=0.5,0.9`; several of one kind add up, and kinds are crossed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import msgspec

from harness.errors import UsageError
from harness.sim.scenario import Scenario
from harness.visitor.retry import RetryPolicy

_FORMS = "write retry=none,sdk-sample or availability=0.5,0.9"


class Variant(msgspec.Struct, frozen=True):
    """One cell of the table: the retry policy, and the service's availability (None: as the scenario says)."""

    retry: RetryPolicy
    availability: float | None

    def of(self, scenario: Scenario) -> Scenario:
        """The scenario with this availability at every call; its levels and its wave then count no more."""
        if self.availability is None:
            return scenario
        ratio = msgspec.structs.replace(scenario.availability, ratio=self.availability, levels=(), wave=None)
        return msgspec.structs.replace(scenario, availability=ratio)


def variants(texts: Sequence[str], policies: Mapping[str, RetryPolicy], usual: RetryPolicy) -> Iterator[Variant]:
    """The cells that the questions ask for, policies first; `usual` is the plan's own policy.

    Raises `UsageError` with every question that cannot be understood.
    """
    asked: dict[str, list[str]] = {"retry": [], "availability": []}
    problems = []
    for text in texts:
        kind, found, values = text.partition("=")
        if not found or kind.strip() not in asked:
            problems.append(f"--what-if '{text}': {_FORMS}")
            continue
        asked[kind.strip()] += [value.strip() for value in values.split(",")]
    for name in asked["retry"]:
        if name not in policies:
            problems.append(f"--what-if retry: '{name}' is no retry policy; known: {', '.join(policies)}")
    ratios: list[float | None] = [_ratio(value, problems) for value in asked["availability"]]
    if problems:
        raise UsageError(problems[0], problems[1:])
    chosen = [policies[name] for name in dict.fromkeys(asked["retry"])] or [usual]
    yield from (Variant(policy, ratio) for policy, ratio in product(chosen, list(dict.fromkeys(ratios)) or [None]))


def _ratio(text: str, problems: list[str]) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        problems.append(f"--what-if availability: '{text}' is no share: write a number from 0 to 1")
    return ratio
