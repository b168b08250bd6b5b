"""From the visits of an import to a trace file: ordered, numbered, and told who comes again.

Whether a visitor comes again is known only later, so lines wait in a spool file until the last visit is known.
Memory: a small entry for each visitor and a byte for each visit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from harness.errors import TraceError
from harness.trace.codec import encode_visit
from harness.trace.model import MAX_SECONDS, Header, Step, Visit
from harness.trace.order import Packing, in_order
from harness.trace.spool import open_spool
from harness.trace.writer import write_trace
from harness.units import NS_PER_S

_SORTED_AT_A_TIME: Final = 50_000


class Draft(msgspec.Struct, gc=False):
    """A visit before it has a number: `start_ns` is since 1970, `visitor` a pseudonym.

    The first step's identity is `return` where the visitor came before.
    """

    start_ns: int
    visitor: str
    cohort: str
    steps: list[Step]
    account: str | None = None


class Totals(msgspec.Struct):
    """What was written."""

    visits: int = 0
    steps: int = 0
    returning: int = 0


_PACKING: Final = Packing[Draft](
    key=lambda draft: draft.start_ns,
    pack=msgspec.json.encode,
    unpack=msgspec.json.Decoder(Draft).decode,
)


def by_start(drafts: Iterable[Draft]) -> Iterator[Draft]:
    """The same drafts ordered by their start, in bounded memory."""
    return in_order(drafts, _PACKING, _SORTED_AT_A_TIME)


def write_drafts(
    drafts: Iterable[Draft],
    target: str | Path,
    *,
    source: str,
    anonymized: bool,
    nothing: Callable[[], str],
    accounts: Collection[str] = (),
    private: bool = False,
) -> Totals:
    """Write drafts (ordered by start) as a trace to a path or `-`; the trace begins at the first visit.

    `accounts`, complete when the first draft comes, are those of all drafts: only if there are several do visits keep
    theirs. A `private` file only its owner may read. Raises `TraceError` with the text of `nothing` when there is no
    draft, and when a trace would span more than the ten years that it may; otherwise as
    `harness.trace.writer.open_output`.
    """
    totals = Totals()
    returns = bytearray()
    latest: dict[str, int] = {}
    first_ns = last_ns = 0
    with open_spool() as spool:
        for index, draft in enumerate(drafts):
            last_ns = draft.start_ns
            first_ns = first_ns if index else last_ns
            longest_s = max((last_ns - first_ns) / NS_PER_S, *(step.think for step in draft.steps))
            if longest_s > MAX_SECONDS:
                raise TraceError(
                    f"visit {index + 1} ({_moment(last_ns)}) comes or pauses more than ten years after the first"
                    f" ({_moment(first_ns)}), longer than a trace may be: import what belongs together,"
                    " with a shorter --gap if there is one: nothing was written"
                )
            totals.steps += len(draft.steps)
            if draft.steps[0].identity == "return" and draft.visitor in latest:
                returns[latest[draft.visitor]] = 1
            latest[draft.visitor] = index
            returns.append(0)
            visit = Visit(
                id=f"v-{index + 1:06d}",
                visitor=draft.visitor,
                at=(draft.start_ns - first_ns) / NS_PER_S,
                cohort=draft.cohort,
                steps=draft.steps,
                account=(draft.account or None) if len(accounts) > 1 else None,
            )
            spool.write(encode_visit(visit) + b"\n")
        totals.visits, totals.returning = len(returns), sum(returns)
        if not returns:
            raise TraceError(nothing())
        header = Header(
            harness_trace=1,
            source=source,
            created=_moment(first_ns),
            visits=len(returns),
            span_s=(last_ns - first_ns) / NS_PER_S,
            anonymized=anonymized,
        )
        spool.seek(0)
        lines = (_marked(line, flag) for line, flag in zip(spool, returns, strict=True))
        write_trace(target, header, lines, private=private)
    return totals


def _moment(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _marked(line: bytes, returns: int) -> bytes:
    """A spooled line, with `returns` as it turned out; the key stands before anything that could look like it."""
    line = line.rstrip(b"\n")
    return line.replace(b'"returns":false', b'"returns":true', 1) if returns else line
