"""`Sample`: one metric of one run with its standard error, from the run's seconds.

The error is that of blocks of seconds drawn again (`harness.judge.bootstrap`). Times and amplification live on the
logarithmic scale, where a change is a ratio; shares (availability, ratios) on their own, where it is a difference.

    quantile            of the merged histogram, all its buckets; attempts without a reply are infinitely slow
    time to available   of the cumulative incidence (`harness.measure.survival`): its error on 64 cells of the waits
    share               hits / base; never surer than independent trials would be (Agresti and Coull's variance)
    mean, amplification, rate    one sum over another
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil, inf, log, sqrt
from random import Random

import msgspec

from harness.errors import UsageError
from harness.judge.bootstrap import RESAMPLES, Blocks, block_length
from harness.judge.evaluate import TAIL_SAMPLES, ratio_counts
from harness.judge.threshold import Metric
from harness.measure.availability import eventual_counts, first_attempt_counts
from harness.measure.buckets import bucket_midpoint, bucket_of
from harness.measure.histogram import Histogram
from harness.measure.snapshot import Snapshot
from harness.measure.survival import time_to_event_quantile

Seconds = Sequence[Snapshot]

MIN_SECONDS = 20
_MIN_BASE = 30
_CELLS = 64
_WAIT_RESAMPLES = 400
# A bucket is up to 0.2 % wide: no figure is surer than that.
_RESOLUTION = 0.0006


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """`value` in ns, a share, or a plain number; None when there is none, infinite when it is "never".

    `error` is the standard error of log(value), or of the value itself for shares, with `degrees` of freedom; None when
    it is not known. `count` values were there; `lacking` says why they are too few ("" when they are enough).
    """

    value: float | None
    count: int
    error: float | None = None
    degrees: float = 1.0
    lacking: str = ""


class Beyond(msgspec.Struct, frozen=True, kw_only=True):
    """The share of values slower than some time, and its standard error."""

    share: float
    error: float
    degrees: float


def seconds_of(slices: Mapping[int, Snapshot], first: int, end: int) -> list[Snapshot]:
    """The measured seconds in order: from `first` to before `end`, those after it joined to the last.

    What is settled after the arrivals' end belongs to the load that asked for it. Seconds without a slice are empty.
    """
    end = max(end, first + 1)
    seconds = [slices.get(second, Snapshot()) for second in range(first, end)]
    drain = [snapshot for second, snapshot in sorted(slices.items()) if second >= end]
    return [*seconds[:-1], Snapshot.merged([seconds[-1], *drain])] if drain else seconds


def sample(metric: Metric, seconds: Seconds, rng: Random | None) -> Sample:
    """The metric over the measured seconds (see `seconds_of`). Raises `UsageError` for one that cannot be compared.

    Without an `rng` nothing is drawn: the error stays unknown, and how many seconds there are does not matter.
    """
    # A maximum has no error, and chain events are no share of anything.
    if metric.function in ("max", "chain"):
        raise UsageError(f"metric '{metric.text}': a {metric.function} cannot be compared; take a quantile or a ratio")
    if metric.function == "quantile":
        return _quantile(metric, seconds, rng)
    parts = [_fraction(metric, snapshot) for snapshot in seconds]
    if metric.function in ("ratio", "availability"):
        return _share(parts, rng)
    return _quotient(parts, rng, events=metric.function == "rate")


def beyond(metric: Metric, seconds: Seconds, limit_ns: float, rng: Random) -> Beyond | None:
    """The share of a quantile's values that are slower than `limit_ns`, those without an end included."""
    parts = [slower_counts(metric, snapshot, int(limit_ns)) for snapshot in seconds]
    found = _share(parts, rng)
    if found.value is None or found.error is None:
        return None
    return Beyond(share=found.value, error=found.error, degrees=found.degrees)


def slower_counts(metric: Metric, snapshot: Snapshot, limit_ns: int) -> tuple[int, int]:
    """(values slower than `limit_ns`, those without an end included; all that tell) of a quantile's values."""
    ended, censored, never = _waits(metric, snapshot)
    above = ended.count_above(limit_ns) + censored.count_above(limit_ns) + never.count
    # A wait cut off before the limit tells nothing about it.
    return above, above + ended.cumulative([limit_ns])[0]


def _waits(metric: Metric, snapshot: Snapshot) -> tuple[Histogram, Histogram, Histogram]:
    suffixes = ("", "_censored", "_never") if metric.subject == "time_to_available" else ("",)
    found = [
        snapshot.histogram(f"{metric.subject}{suffix}", op=metric.op, cohort=metric.cohort, row=metric.row)
        for suffix in suffixes
    ]
    return (found[0], found[1], found[2]) if len(found) == 3 else (found[0], Histogram(), Histogram())


def _fraction(metric: Metric, snapshot: Snapshot) -> tuple[float, float]:
    """What a second adds above and below the line of a metric that is one sum over another."""
    match metric.function:
        case "mean":
            histogram = _waits(metric, snapshot)[0]
            return histogram.total_ns, histogram.finite
        case "availability":
            counts = first_attempt_counts if metric.subject == "first" else eventual_counts
            return counts(snapshot, metric.cohort)
        case "ratio":
            return ratio_counts(metric, snapshot)
        case "retry_amplification":
            places = (metric.op, metric.cohort)
            return snapshot.total("attempts", *places), snapshot.total("first_attempts", *places)
        case _:
            if metric.subject == "visits":
                return snapshot.total("visits_started", metric.cohort), 1
            return snapshot.total(metric.subject, metric.op, metric.cohort), 1


def _share(parts: Sequence[tuple[float, float]], rng: Random | None) -> Sample:
    hits, base = (sum(column) for column in zip(*parts, strict=True))
    if not base:
        return Sample(value=None, count=0, lacking="nothing was measured")
    ratio = hits / base
    lacking = _lacking(len(parts), int(base), _MIN_BASE, rng)
    if rng is None:
        return Sample(value=ratio, count=int(base), lacking=lacking)
    blocks = Blocks(len(parts), block_length([hit - ratio * tried for hit, tried in parts]), rng)
    drawn = zip(blocks.totals([hit for hit, _ in parts]), blocks.totals([tried for _, tried in parts]), strict=True)
    error = blocks.error([hit / tried for hit, tried in drawn if tried])
    middle = (hits + 2) / (base + 4)
    error = max(error, sqrt(middle * (1 - middle) / (base + 4)))
    return Sample(value=ratio, count=int(base), error=error, degrees=blocks.degrees, lacking=lacking)


def _quotient(parts: Sequence[tuple[float, float]], rng: Random | None, *, events: bool) -> Sample:
    above, below = (sum(column) for column in zip(*parts, strict=True))
    if not below or not above:
        return Sample(value=None, count=int(below), lacking="nothing was measured")
    value = above / below
    count = int(above if events else below)
    lacking = _lacking(len(parts), count, _MIN_BASE, rng)
    if rng is None:
        return Sample(value=value, count=count, lacking=lacking)
    blocks = Blocks(len(parts), block_length([up - value * down for up, down in parts]), rng)
    drawn = zip(blocks.totals([up for up, _ in parts]), blocks.totals([down for _, down in parts]), strict=True)
    error = max(blocks.error([log(up / down) for up, down in drawn if up and down]), _RESOLUTION)
    return Sample(value=value, count=count, error=error, degrees=blocks.degrees, lacking=lacking)


def _lacking(seconds: int, count: int, wanted: int, rng: Random | None) -> str:
    if rng is not None and seconds < MIN_SECONDS:
        return f"{seconds} measured seconds, {MIN_SECONDS} are needed"
    return f"{count} values, {wanted} are needed" if count < wanted else ""


def _quantile(metric: Metric, seconds: Seconds, rng: Random | None) -> Sample:
    q = metric.q or 0.5
    waits = [_waits(metric, snapshot) for snapshot in seconds]
    ended, censored, never = (Histogram.merged(column) for column in zip(*waits, strict=True))
    count = ended.count + censored.count + never.count
    if not count:
        return Sample(value=None, count=0, lacking="nothing was measured")
    value = time_to_event_quantile(ended, censored, never, q) if censored.count else _ranked(ended, never.count, q)
    lacking = _lacking(len(seconds), count, ceil(TAIL_SAMPLES / min(1 - q, q) - 1e-6), rng)
    if value is None:
        return Sample(value=inf, count=count, lacking=lacking)
    value = max(value, 1)  # a lag of nothing has no logarithm
    if rng is None:
        return Sample(value=float(value), count=count, lacking=lacking)
    index = bucket_of(value)
    below = [sum(n for bucket, n in held.counts.items() if bucket <= index) for held, _, _ in waits]
    sizes = [held.count + cut.count + refused.count for held, cut, refused in waits]
    reached = sum(below) / count
    influence = [under - reached * size for under, size in zip(below, sizes, strict=True)]
    if censored.count:
        blocks = Blocks(len(seconds), block_length(influence), rng, _WAIT_RESAMPLES)
        replicates = _waiting_replicates(waits, ended, q, blocks)
    else:
        blocks = Blocks(len(seconds), block_length(influence), rng, RESAMPLES)
        replicates = _ranked_replicates([held for held, _, _ in waits], sizes, sorted(ended.counts), q, blocks)
    # Where draws end in "never" the logarithm has no spread; the comparison asks for shares instead.
    known = len(replicates) == len(blocks.draws)
    error = max(blocks.error(replicates), _RESOLUTION) if known else None
    return Sample(value=float(value), count=count, error=error, degrees=blocks.degrees, lacking=lacking)


def _ranked(ended: Histogram, never: int, q: float) -> int | None:
    whole = Histogram.merged([ended])
    whole.add_infinite(never)
    return whole.quantile(q)


def _ranked_replicates(
    held: Sequence[Histogram], sizes: Sequence[int], edges: Sequence[int], q: float, blocks: Blocks
) -> list[float]:
    """log(quantile) of each draw, those that fall on "never" left out: the edge is searched by halving.

    How many values of a draw lie up to an edge is a sum over its blocks; edges are prepared when first asked for.
    """
    buckets = [sorted(histogram.counts) for histogram in held]
    running = [
        [0, *accumulate(histogram.counts[index] for index in ordered)]
        for histogram, ordered in zip(held, buckets, strict=True)
    ]
    prepared: dict[int, list[float]] = {}

    def upto(edge: int) -> list[float]:
        if edge not in prepared:
            counts = [below[bisect_right(ordered, edge)] for below, ordered in zip(running, buckets, strict=True)]
            prepared[edge] = blocks.sums(counts)
        return prepared[edge]

    replicates = []
    for draw, size in zip(blocks.draws, blocks.totals(sizes), strict=True):
        rank = max(ceil(q * size - 1e-9), 1)
        low, high = 0, len(edges)
        while low < high:
            middle = (low + high) // 2
            if sum(map(upto(edges[middle]).__getitem__, draw)) >= rank:
                high = middle
            else:
                low = middle + 1
        if low < len(edges):
            replicates.append(log(max(bucket_midpoint(edges[low]), 1)))
    return replicates


def _waiting_replicates(
    waits: Sequence[tuple[Histogram, Histogram, Histogram]], ended: Histogram, q: float, blocks: Blocks
) -> list[float]:
    """log(quantile) of the cumulative incidence of each draw, those that never reach `q` left out."""
    edges = _cell_edges(ended)
    cells = [
        [blocks.sums(column) for column in zip(*(_celled(kinds[kind], edges) for kinds in waits), strict=True)]
        for kind in range(3)
    ]
    times = [log(max(ended.lowest, 1)), *(log(max(bucket_midpoint(edge), 1)) for edge in edges)]
    replicates = []
    for draw in blocks.draws:
        good, cut, bad = ([sum(map(column.__getitem__, draw)) for column in kind] for kind in cells)
        waiting, still, share = sum(good) + sum(cut) + sum(bad), 1.0, 0.0
        for cell in range(len(edges)):
            if waiting <= 0:
                break
            gained = still * good[cell] / waiting
            if share + gained >= q - 1e-9:
                part = (q - share) / gained if gained else 0.0
                replicates.append(times[cell] + part * (times[cell + 1] - times[cell]))
                break
            share += gained
            still *= 1.0 - (good[cell] + bad[cell]) / waiting
            waiting -= good[cell] + bad[cell] + cut[cell]
    return replicates


def _cell_edges(ended: Histogram) -> list[int]:
    """The last buckets of at most 64 cells that hold about equally many ended waits."""
    wanted = following = ended.finite / _CELLS
    seen, edges = 0, []
    for index in sorted(ended.counts):
        seen += ended.counts[index]
        if seen >= following or seen == ended.finite:
            edges.append(index)
            following = seen + wanted
    return edges


def _celled(histogram: Histogram, edges: Sequence[int]) -> list[int]:
    """How many values lie in each cell; what is beyond the last edge has a cell of its own."""
    counts = [0] * (len(edges) + 1)
    for index, n in histogram.counts.items():
        counts[bisect_left(edges, index)] += n
    return counts
