"""What visitors did: `Visit` and `Step`, the two shapes of a trace line (interfaces: "Trace file").

Both are msgspec structs, so one call decodes and validates a line; `request` stays raw bytes until the step
is about to be sent. Unknown keys of a line are ignored here and kept by the transforms, which work on lines.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.units import seconds_to_ns
from harness.wire.route import Op as Op

Identity = Literal["fresh", "chain", "return", "stale"]

OPS: tuple[Op, ...] = ("get_engagement", "update")
IDENTITIES: tuple[Identity, ...] = ("fresh", "chain", "return", "stale")

# Ten years: far beyond any trace, and small enough for 64-bit nanoseconds.
MAX_SECONDS = 315_360_000

# Without ~ and @: clones and rounds of a visitor are told apart by these (plan.schedule).
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$"
COHORT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$"


class Step(msgspec.Struct, gc=False, kw_only=True):
    """One call of a visit: what to send, how long after the previous step settled, and whose ids it carries.

    `think` is in seconds, 0 or more. `identity` is a rule, never a recorded id: `fresh` sends no ids, `chain` the
    newest of this visit, `return` the vid of the visitor's earlier visit, `stale` ids the service cannot know.
    """

    op: Op
    think: float = msgspec.field(default=0.0)
    identity: Identity = "chain"
    request: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))

    @property
    def think_ns(self) -> int:
        """Think time in nanoseconds."""
        return seconds_to_ns(self.think)


class Visit(msgspec.Struct, gc=False, kw_only=True):
    """One visitor's session: `at` seconds after the trace's start, one or more steps in order.

    `returns` says that the same `visitor` comes again later, so its vid must be remembered past this visit.
    """

    id: str = msgspec.field(name="visit")
    visitor: str
    at: float
    steps: list[Step]
    cohort: str = "all"
    returns: bool = False
    account: str | None = None

    @property
    def offset_ns(self) -> int:
        """Start of the visit in nanoseconds after the trace's start."""
        return seconds_to_ns(self.at)


class Header(msgspec.Struct, kw_only=True, omit_defaults=True):
    """First line of a trace file."""

    harness_trace: Literal[1]
    source: str = ""
    created: str = ""
    seed: int | None = None
    visits: Annotated[int, Meta(ge=0)] | None = None
    span_s: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | None = None
    anonymized: bool = False
