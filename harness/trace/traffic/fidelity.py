"""How true a model is to visits it has not seen: the fidelity table, with limits that are fixed here, beforehand.

A fit without the held-out blocks and two naive models (Poisson at one rate, Poisson at the rate by bin, both with
visits that toss coins) each synthesise traces of the same span, which are read like the real one: same calendar, same
resolution. Then each dimension's law in the held-out blocks is compared with the law in the same blocks of the
synthesised traces. Only the likelihood needs no synthesis.

Limits: a Kolmogorov-Smirnov distance may be 0.05 plus what chance alone exceeds once in a hundred at the sample's
size, a difference of mixes (total variation) 0.05 plus the root of kinds per observation; a Wasserstein distance 25 %
of the mean; an index of dispersion a factor of 1.5; an autocorrelation 0.1. The likelihood has no limit: the fitted
model's must be the greatest.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from math import floor, log, sqrt

from harness.trace.codec import decode_visit
from harness.trace.traffic.arrivals import Calendar, Evidence
from harness.trace.traffic.fit import Learned, fit_model, in_held_out, naive
from harness.trace.traffic.gather import Gathered
from harness.trace.traffic.harvest import KEPT_FROM
from harness.trace.traffic.model import Dimension, TrafficModel
from harness.trace.traffic.synth import Synthesiser, clock_of, model_arrivals_s

KS_LIMIT, MIX_LIMIT = 0.05, 0.05
WASSERSTEIN_LIMIT = 0.25
DISPERSION_FACTOR = 1.5
AUTOCORRELATION_LIMIT = 0.1
# Of the Kolmogorov law: exceeded by chance once in a hundred.
_KS_CHANCE = 1.63

SLOTS_PER_BLOCK = 60
_SYNTHESISED_VISITS = 10_000
_MOST_ROUNDS = 20
_NAIVE_BINS = 24
_FEWEST = 10


@dataclass
class Sample:
    """What is compared, of the held-out blocks of one or several traces."""

    gaps_s: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    thinks_s: list[float] = field(default_factory=list)
    lengths_s: list[float] = field(default_factory=list)
    operations: Counter[str] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    cohorts: Counter[str] = field(default_factory=Counter)
    # Visits in each slot, block by block.
    slots: list[list[int]] = field(default_factory=list)

    def add(self, gathered: Gathered, moments_s: Sequence[float], calendar: Calendar) -> None:
        """Take the held-out blocks of a trace."""
        slot_s = calendar.block_s / SLOTS_PER_BLOCK
        blocks = {
            number: [0] * SLOTS_PER_BLOCK
            for number, start_s, end_s in calendar.blocks()
            # The first and the last block may be cut; a part would look like a quiet hour.
            if calendar.held_out(number) and end_s - start_s > calendar.block_s * 0.999
        }
        inside = [calendar.held_out(calendar.block(at_s)) for at_s in moments_s]
        for (before_s, was_in), (at_s, is_in) in pairwise(zip(moments_s, inside, strict=True)):
            if was_in and is_in and calendar.block(before_s) == calendar.block(at_s):
                self.gaps_s.append(at_s - before_s)
        for number, (at_s, thinks_s) in enumerate(zip(moments_s, gathered.thinks_by_visit(), strict=True)):
            if not inside[number]:
                continue
            block = calendar.block(at_s)
            if block in blocks:
                into_s = at_s + calendar.phase_s - block * calendar.block_s
                blocks[block][min(int(into_s / slot_s), SLOTS_PER_BLOCK - 1)] += 1
            self.steps.append(len(thinks_s))
            self.thinks_s += thinks_s[1:]
            self.lengths_s.append(sum(thinks_s))
            self.cohorts[gathered.cohorts[number]] += 1
            for each in gathered.sequences[number]:
                signature = gathered.signatures[each]
                self.operations[f"{signature.op} {signature.identity}"] += 1
                self.attributes.update(signature.attributes or ("none",))
                self.attributes.update(signature.events)
        self.slots += blocks.values()

    def dispersion(self, slots: int) -> float | None:
        """Variance over mean of the visits in so many neighbouring slots."""
        counts = [sum(block[at : at + slots]) for block in self.slots for at in range(0, SLOTS_PER_BLOCK, slots)]
        mean = sum(counts) / len(counts) if counts else 0.0
        return sum((count - mean) ** 2 for count in counts) / len(counts) / mean if mean else None

    def autocorrelation(self) -> float | None:
        """Correlation of the visits in a slot with those in the next."""
        counts = [count for block in self.slots for count in block]
        pairs = [pair for block in self.slots for pair in pairwise(block)]
        mean = sum(counts) / len(counts) if counts else 0.0
        variance = sum((count - mean) ** 2 for count in counts) / len(counts) if counts else 0.0
        if not variance:
            return None
        return sum((a - mean) * (b - mean) for a, b in pairs) / len(pairs) / variance


def fidelity(learned: Learned, seed: int) -> list[Dimension]:
    """The table; empty when fewer than ten visits were held out, or fewer than ten were not.

    `seed` is that of the syntheses.
    """
    held_out = sum(in_held_out(learned))
    if min(held_out, len(learned.moments_s) - held_out) < _FEWEST:
        return []
    fitted = fit_model(learned, held_out=True)
    models = [fitted, naive(learned, fitted, bins=_NAIVE_BINS), naive(learned, fitted, bins=1)]
    real = Sample()
    real.add(learned.gathered, learned.moments_s, learned.calendar)
    made = [_synthesised(model, learned, seed) for model in models]
    table = [_likelihoods(learned, models)]
    for name, values in _DISTANCES:
        table += _distances(name, values, real, made)
    for name, slots in (
        ("dispersion, block/60", 1),
        ("dispersion, block/6", 10),
        ("dispersion, block", SLOTS_PER_BLOCK),
    ):
        table.append(_dispersions(name, slots, real, made))
    table.append(_autocorrelations(real, made))
    for name, counts in _MIXES:
        table.append(_mix(name, counts(real), [counts(each) for each in made]))
    return table


_DISTANCES: tuple[tuple[str, Callable[[Sample], list[float]]], ...] = (
    ("gap between visits", lambda sample: sample.gaps_s),
    ("steps per visit", lambda sample: sample.steps),
    ("think time", lambda sample: sample.thinks_s),
    ("length of a visit", lambda sample: sample.lengths_s),
)
_MIXES: tuple[tuple[str, Callable[[Sample], Counter[str]]], ...] = (
    ("operations and identities", lambda sample: sample.operations),
    ("attribute types", lambda sample: sample.attributes),
    ("cohorts", lambda sample: sample.cohorts),
)


def _synthesised(model: TrafficModel, learned: Learned, seed: int) -> Sample:
    """Traces of the same span, so many that chance in them hardly counts."""
    sample = Sample()
    synthesiser = Synthesiser(model, seed)
    end_s = learned.calendar.end_s
    rounds = max(1, min(_MOST_ROUNDS, _SYNTHESISED_VISITS // len(learned.moments_s)))
    for number in range(rounds):
        of_round = f"{seed}/{number}"
        moments_s = list(takewhile(lambda at_s: at_s <= end_s, model_arrivals_s(model, of_round)))
        gathered = Gathered(KEPT_FROM, values=False)
        for line in synthesiser.lines(moments_s, number):
            gathered.add(decode_visit(line, "synthesis"))
        sample.add(gathered, [floor(at_s / learned.tick_s) * learned.tick_s for at_s in moments_s], learned.calendar)
    return sample


def _likelihoods(learned: Learned, models: Sequence[TrafficModel]) -> Dimension:
    windows = learned.calendar.windows(True)
    values = []
    for model in models:
        arrivals = model.arrivals
        evidence = Evidence(learned.moments_s, windows, clock_of(arrivals), learned.tick_s)
        values.append(evidence.log_likelihood(1 / arrivals.cv**2) / max(1, evidence.visits))
    return _dimension("log-likelihood per visit", "best", None, values, None, values[0] >= max(values[1:]))


def _distances(
    name: str, values: Callable[[Sample], list[float]], real: Sample, made: Sequence[Sample]
) -> Iterable[Dimension]:
    held_out = sorted(values(real))
    others = [sorted(values(each)) for each in made]
    if not held_out or not all(others):
        return
    mean = sum(held_out) / len(held_out)
    limit = KS_LIMIT + _KS_CHANCE / sqrt(len(held_out))
    distances = [kolmogorov_smirnov(held_out, other) for other in others]
    yield _dimension(name, "KS", None, distances, limit, distances[0] <= limit)
    if mean:
        ratios = [wasserstein(held_out, other) / mean for other in others]
        yield _dimension(name, "W1/mean", None, ratios, WASSERSTEIN_LIMIT, ratios[0] <= WASSERSTEIN_LIMIT)


def _dispersions(name: str, slots: int, real: Sample, made: Sequence[Sample]) -> Dimension:
    held_out = real.dispersion(slots)
    values = [each.dispersion(slots) for each in made]
    first = values[0]
    passes = bool(held_out and first) and abs(log((first or 1) / (held_out or 1))) <= log(DISPERSION_FACTOR)
    return _dimension(name, "var/mean", held_out, values, DISPERSION_FACTOR, passes)


def _autocorrelations(real: Sample, made: Sequence[Sample]) -> Dimension:
    held_out = real.autocorrelation()
    values = [each.autocorrelation() for each in made]
    passes = held_out is not None and values[0] is not None and abs(values[0] - held_out) <= AUTOCORRELATION_LIMIT
    return _dimension("autocorrelation, block/60", "lag 1", held_out, values, AUTOCORRELATION_LIMIT, passes)


def _mix(name: str, real: Counter[str], made: Sequence[Counter[str]]) -> Dimension:
    limit = MIX_LIMIT + sqrt(len(real) / max(1, real.total()))
    distances = [total_variation(real, each) for each in made]
    return _dimension(name, "TV", None, distances, limit, distances[0] <= limit)


def _dimension(
    name: str, measure: str, held_out: float | None, values: Sequence[float | None], limit: float | None, passes: bool
) -> Dimension:
    fitted, piecewise, poisson = values
    return Dimension(
        name=name,
        measure=measure,
        held_out=held_out,
        fitted=fitted,
        piecewise_poisson=piecewise,
        poisson=poisson,
        limit=limit,
        passes=passes,
    )


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """Greatest difference between two empirical distributions, given ascending."""
    return max(abs(bisect(one, x) / len(one) - bisect(other, x) / len(other)) for x in {*one, *other})


def wasserstein(one: Sequence[float], other: Sequence[float]) -> float:
    """Area between two empirical distributions, given ascending: how far values must be moved on average."""
    points = sorted({*one, *other})
    return sum(
        (after - x) * abs(bisect(one, x) / len(one) - bisect(other, x) / len(other)) for x, after in pairwise(points)
    )


def total_variation(one: Counter[str], other: Counter[str]) -> float:
    """Half the sum of the differences between two mixes: 0 for the same, 1 for nothing in common."""
    totals = max(1, one.total()), max(1, other.total())
    return sum(abs(one[key] / totals[0] - other[key] / totals[1]) for key in one.keys() | other.keys()) / 2
