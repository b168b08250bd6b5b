"""From the exchanges of a recording, in any order, to a trace file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from harness.trace.intake.assemble import Totals, by_start, write_drafts
from harness.trace.intake.exchange import Exchange
from harness.trace.intake.tying import Tying
from harness.trace.order import Packing, in_order

_SORTED_AT_A_TIME: Final = 20_000
_PACKING: Final = Packing[Exchange](
    key=lambda exchange: exchange.began_ns,
    pack=msgspec.msgpack.encode,
    unpack=msgspec.msgpack.Decoder(Exchange).decode,
)


class Recording(Protocol):
    """Files that others recorded, as exchanges; the counts are complete when all were taken.

    `count` is how many entries there were, `left_out` how many of them are no engagement call, by reason.
    """

    count: int
    left_out: Counter[str]

    def __iter__(self) -> Iterator[Exchange]: ...


def write_recording(
    exchanges: Iterable[Exchange],
    target: str | Path,
    *,
    source: str,
    nothing: Callable[[Tying], str],
    gap_ns: int,
    retry_ns: int,
) -> tuple[Tying, Totals]:
    """Tie exchanges together and write the trace to a path or `-`; what became of them is in what is returned.

    Only its owner may read the file. Raises `TraceError` with the text of `nothing` when no visit comes of them,
    otherwise as `harness.trace.writer.open_output`.
    """
    tying = Tying(in_order(exchanges, _PACKING, _SORTED_AT_A_TIME), gap_ns=gap_ns, retry_ns=retry_ns)
    totals = write_drafts(
        by_start(tying),
        target,
        source=source,
        anonymized=False,
        nothing=lambda: nothing(tying),
        accounts=tying.accounts,
        private=True,
    )
    return tying, totals
