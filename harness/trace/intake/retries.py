"""What a recording shows of its client's retries: which answers were tried again, after which pause, with whose ids.

Only evidence is kept here, in bounded memory; `harness.visitor.guess` makes a policy of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from harness.trace.intake.exchange import Exchange

# Pauses that are kept for each number of retry: enough for a median.
_KEPT: Final = 2_000
# Retry numbers beyond this one are alike.
MOST: Final = 32


class Retries:
    """Counts over the attempts of a recording.

    `again` and `left` say how often each result was tried again, and how often it was a step's last. `pauses_ns` are
    the pauses before the first, second … retry (but for throttled ones, which the reply may have asked for). `gave_up`
    counts steps that ended without success by last result and number of retries, `spans_ns` how long those took at
    most. `hinted` counts retries without ids of their own after a hint, `hint_taken` those of them that sent it;
    `with_ids` retries of visits that a reply had given ids, `ids_dropped` those of them that sent none.
    """

    def __init__(self) -> None:
        self.folded = 0
        self.again: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.pauses_ns: dict[int, list[int]] = {}
        self.gave_up: Counter[tuple[str, int]] = Counter()
        self.spans_ns: dict[str, int] = {}
        self.hinted = self.hint_taken = 0
        self.with_ids = self.ids_dropped = 0

    def retried(self, number: int, before: str, pause_ns: int) -> None:
        """A retry, the `number`-th of its step, `pause_ns` after an answer of the kind `before`."""
        self.folded += 1
        self.again[before] += 1
        if before == "throttled":
            return
        pauses = self.pauses_ns.setdefault(min(number, MOST), [])
        if len(pauses) < _KEPT:
            pauses.append(pause_ns)

    def ids(self, exchange: Exchange, hint: str, vid: str) -> None:
        """Whose ids a retry carried: `vid` is the one that the visit had from a reply, `hint` that of a message."""
        if vid:
            self.with_ids += 1
            self.ids_dropped += not exchange.vid
        elif hint:
            self.hinted += 1
            self.hint_taken += exchange.vid == hint

    def settled(self, result: str, retries: int, span_ns: int) -> None:
        """A step that is over: its last result, how many retries it saw and how long after its begin the last began."""
        self.left[result] += 1
        if retries and result not in ("available", "accepted"):
            self.gave_up[result, retries] += 1
            self.spans_ns[result] = max(self.spans_ns.get(result, 0), span_ns)
