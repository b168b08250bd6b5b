"""`Check`: one question asked of a run, and its answer; the verdict is made of these and nothing else."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["slo", "validity", "regression", "guard"]


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of summary.json's `verdict.checks` (interfaces section 4).

    `ci95` is the 95 % interval of an observed ratio, where seconds were there to draw it from. `observed` and `limit`
    are in `unit` ("ms", "ratio", "/s" or "" for a count); `observed` is None when there is no
    number (nothing measured, or the value is "never"). `enough_data` is written only when false: the sample cannot
    support the question, which makes the run INVALID instead of the target guilty.
    """

    name: str
    kind: Kind
    ok: bool
    observed: float | None
    limit: float | None
    unit: str
    message: str
    enough_data: bool = True
    ci95: tuple[float, float] | None = None

    def to_obj(self) -> dict[str, Any]:
        """Plain data for summary.json."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def number(value: float) -> str:
    """A number for people, four digits: `0.9953`, `812.4`, `12345`."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit for people: `812.4 ms`, `99.53 %`, `50/s`, `3`."""
    if unit == "ratio":
        return f"{value * 100:.5g} %"
    return number(value) + (unit if unit == "/s" else f" {unit}" if unit else "")
