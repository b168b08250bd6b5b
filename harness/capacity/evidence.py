"""What a step at one rate shows while it goes on: a sequential test, second by second.

Each criterion is a binomial: so many bad ones of so many. Replies of a busy service are not independent, though: slow
ones come together, as long as a queue lasts. So counts are divided by a *design effect*: by how much the variance
between blocks of seconds exceeds that of independent replies (overlapping batch means; Meketon and Schmeiser 1984).
Blocks are as long as `judge.bootstrap` finds the dependence. Bad ones alone would tell too late how they cluster, for
the first burst may not have come: the response times cluster in the same way and are there from the start, so the
larger of the two effects counts, and more while few blocks are known.

The test looks `LOOKS` times, at fixed shares of the longest hold, and spends an equal part of its error each time
(Bonferroni), so looking often does not make it err more often.

A queue that grows has not been held, whatever its percentiles: where the visits that are open, or the response times,
rise over the step beyond chance (Mann and Kendall's test) and by enough, the rate is more than the service can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import sqrt
from statistics import median
from typing import Final, Literal

import msgspec

from harness.capacity.criterion import Criterion
from harness.judge.bootstrap import block_length
from harness.judge.significance import binomial_tails
from harness.judge.steadiness import trend
from harness.measure.snapshot import Snapshot

Answer = Literal["held", "broken", "open"]

# When the test looks, as shares of the longest hold. Fewer than a fifth's blocks say nothing about dependence.
LOOKS: Final = (0.2, 0.3, 0.45, 0.65, 0.8, 1.0)
# The chance of a wrong "held", and of a wrong "broken", over all looks at a rate exactly at the border, were the design
# effect known. It is read off the same seconds, and where few are slow it looks small, too: "held" errs more often
# (docs/capacity.md has the count).
ERROR: Final = 0.025
# A block may hold this share of what is there at most: with fewer blocks a variance is a guess.
_MOST_OF_ALL = 4
_TREND_P = 0.001
# What might be growth is waited for: a step is not called held as long as it might.
_HINT_P = 0.05
_TREND_BINS = 15
_MIN_BINS = 8
# By how much the response time must rise from start to end, and how much of what arrives must stay.
_RISE_RATIO = 1.0
_BACKLOG_RATIO = 0.02


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a step showed of one criterion: `bad` of `count`, `allowed` a share.

    `effect` is the design effect, widened for the few blocks that it is known from: `count / effect` replies were as
    good as independent.
    """

    slo: str
    allowed: float
    bad: int
    count: int
    effect: float
    answer: Answer

    @property
    def share(self) -> float:
        """The share of bad ones; 0 where nothing was counted."""
        return self.bad / self.count if self.count else 0.0

    @property
    def ok(self) -> bool:
        """Whether the criterion holds as far as anybody can say."""
        return self.answer != "broken" and self.count > 0 and self.share <= self.allowed


class Second(msgspec.Struct, frozen=True):
    """What the test keeps of one second: (bad, all) by criterion, replies and their times, visits open at its end."""

    counts: tuple[tuple[int, int], ...]
    replies: int
    total_s: float
    squares_s2: float
    open_visits: int
    arrivals: int


class Evidence:
    """Takes the seconds of a step, in ascending order, and answers as soon as it can.

    Those before `settle_s` are left out: queues still fill. `hold_s` seconds count at most. What comes after the answer
    changes nothing, but for a step that must hold for the `whole` time: it can still break.
    """

    def __init__(self, criteria: Sequence[Criterion], settle_s: int, hold_s: int, *, whole: bool = False) -> None:
        self._criteria = list(criteria)
        self._whole = whole
        self._first = settle_s
        self._end = settle_s + hold_s
        self._looks = [max(1, round(hold_s * share)) for share in LOOKS]
        self._open = 0
        self._seconds: list[Second] = []
        self._next = 0
        self.shown: list[Shown] = []
        self.growing = ""
        self._might_grow = False

    def add(self, second: int, measured: Snapshot) -> Answer:
        """Takes one second of the run and says what the test knows after it."""
        for missing in range(self._next, min(second, self._end)):
            self._add(missing, Snapshot())
        if second < self._end:
            self._add(second, measured)
        self._next = max(self._next, second + 1)
        return self.answer

    @property
    def answer(self) -> Answer:
        """Held: every criterion surely is; broken: one surely is, or the queue grows; open: not known yet."""
        if self.growing or any(shown.answer == "broken" for shown in self.shown):
            return "broken"
        held = self.shown and all(shown.answer == "held" for shown in self.shown)
        return "held" if held and not self._might_grow else "open"

    @property
    def decided(self) -> bool:
        """Whether nothing that could still come would change the answer."""
        return self.answer == "broken" or (self.answer == "held" and not self._whole)

    @property
    def seconds(self) -> int:
        """How many seconds count so far."""
        return len(self._seconds)

    def look(self) -> None:
        """Looks at what there is, outside the plan: for a step that ended before its time."""
        if self._seconds:
            self.shown = [self._shown(place) for place in range(len(self._criteria))]
            self.growing, self._might_grow = growth(self._seconds)

    def _add(self, second: int, measured: Snapshot) -> None:
        self._open += measured.visits_open
        if second < self._first or self.decided:
            return
        counts = tuple(criterion.counts(measured) for criterion in self._criteria)
        self._seconds.append(_second(counts, measured, self._open))
        if len(self._seconds) in self._looks:
            self.look()

    def _shown(self, place: int) -> Shown:
        criterion = self._criteria[place]
        counts = [second.counts[place] for second in self._seconds]
        bad, count = sum(bad for bad, _ in counts), sum(n for _, n in counts)
        effect = self._effect(counts)
        answer: Answer = "open"
        if count:
            least, most = binomial_tails(bad / effect, count / effect, criterion.allowed)
            spent = ERROR / len(LOOKS)
            answer = "held" if least < spent else "broken" if most < spent else "open"
        return Shown(slo=criterion.name, allowed=criterion.allowed, bad=bad, count=count, effect=effect, answer=answer)

    def _effect(self, counts: Sequence[tuple[int, int]]) -> float:
        bad, count = sum(bad for bad, _ in counts), sum(n for _, n in counts)
        share = bad / count if count else 0.0
        own, blocks = design_effect([float(bad) for bad, _ in counts], [n for _, n in counts], share * (1 - share))
        replies = sum(second.replies for second in self._seconds)
        if replies:
            mean = sum(second.total_s for second in self._seconds) / replies
            variance = sum(second.squares_s2 for second in self._seconds) / replies - mean * mean
            times, of_times = design_effect(
                [second.total_s for second in self._seconds], [second.replies for second in self._seconds], variance
            )
            own, blocks = max(own, times), min(blocks, of_times)
        return own * (1 + sqrt(2 / blocks))


def _second(counts: tuple[tuple[int, int], ...], measured: Snapshot, open_visits: int) -> Second:
    times = measured.histogram("response_time")
    squares = sum(n * (times.value_at(bucket) / 1e9) ** 2 for bucket, n in times.counts.items())
    return Second(
        counts=counts,
        replies=times.finite,
        total_s=times.total_ns / 1e9,
        squares_s2=squares,
        open_visits=open_visits,
        arrivals=measured.total("visits_started"),
    )


def design_effect(sums: Sequence[float], sizes: Sequence[int], variance: float) -> tuple[float, float]:
    """(by how much the ratio of the totals varies more than that of independent values, blocks that say so).

    `sums` and `sizes` are of each second, `variance` that of a single value. The effect is 1 at least.
    """
    size, seconds = sum(sizes), len(sizes)
    if not size or variance <= 0 or seconds < 2:
        return 1.0, max(1.0, seconds / 3)
    ratio = sum(sums) / size
    influence = [value - ratio * n for value, n in zip(sums, sizes, strict=True)]
    length = min(block_length(influence), max(1, seconds // _MOST_OF_ALL))
    running = [0.0, *accumulate(influence)]
    batches = [after - before for before, after in zip(running, running[length:], strict=False)]
    spread = sum(batch * batch for batch in batches) / len(batches)
    whole = spread * seconds / length * (seconds / (seconds - length) if seconds > length else 1.0)
    return max(1.0, whole / (size * variance)), seconds / length


def growth(seconds: Sequence[Second]) -> tuple[str, bool]:
    """(why the queue is taken to grow over `seconds`, one line, "" where it is not seen to; whether it might)."""
    width = max(1, -(-len(seconds) // _TREND_BINS))
    bins = [seconds[start : start + width] for start in range(0, len(seconds) - width + 1, width)]
    if len(bins) < _MIN_BINS:
        return "", False
    opened = [sum(second.open_visits for second in held) / width for held in bins]
    rise, p = trend(opened)
    enough = _BACKLOG_RATIO * sum(second.arrivals for second in seconds)
    hint = p < _HINT_P and rise > enough
    # Visits come and go by chance, too: so many more than before are none.
    if p < _TREND_P and rise > max(enough, 4 * sqrt(opened[0] + opened[-1] + 1)):
        return f"the queue grows: {rise:.0f} more visits are open at the end than at the start", True
    times = [(sum(second.total_s for second in held), sum(second.replies for second in held)) for held in bins]
    means = [total / n for total, n in times if n]
    if len(means) >= _MIN_BINS:
        rise, p = trend(means)
        if p < _TREND_P and rise > _RISE_RATIO * median(means):
            return f"the queue grows: the response time rose by {rise * 1000:.0f} ms from start to end", True
    return "", hint
