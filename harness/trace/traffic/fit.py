"""From a gathered trace to a traffic model, and the naive models that it is compared with.

Which states there are and what values look like is learned from all visits; rates, burstiness, journeys, pauses and
cohorts from those that are chosen, so that a fit can be judged on visits it has not seen.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import Any

import msgspec

from harness.errors import TraceError
from harness.trace.model import Header
from harness.trace.traffic.arrivals import DAY_S, Calendar, count_rates, learn_arrivals, tick_s
from harness.trace.traffic.gather import Gathered
from harness.trace.traffic.harvest import KEPT_FROM, Tally
from harness.trace.traffic.journeys import Tables, learn_journey, learn_states, quantiles
from harness.trace.traffic.model import (
    Cohort,
    Details,
    Dimension,
    Fit,
    Journey,
    Move,
    Returns,
    Sections,
    State,
    TrafficModel,
    Values,
)
from harness.units import NS_PER_S

FEWEST_VISITS = 50
# A cohort with fewer visits shares the journey of all.
_OWN_JOURNEY_FROM = 300
_ANY_COHORT = "all"


@dataclass(frozen=True)
class Learned:
    """What is learned once, for all fits of one trace."""

    gathered: Gathered
    calendar: Calendar
    tick_s: float
    moments_s: list[float]
    states: list[State]
    # By signature of a step: the number of its state.
    places: list[int]
    sequences: list[tuple[int, ...]]
    thinks_s: list[array[float]]
    source: str
    # Whether the trace's header says so.
    anonymized: bool


def prepare(gathered: Gathered, header: Header, name: str) -> Learned:
    """The calendar, the states, and the visits in terms of them.

    `name` is what messages call the trace. Raises `TraceError` when there are too few visits, or all at one moment.
    """
    count = len(gathered.at_ns)
    if count < FEWEST_VISITS:
        raise TraceError(f"{name}: the trace holds {count} visits; a fit needs {FEWEST_VISITS}")
    if gathered.at_ns[0] == gathered.at_ns[-1]:
        raise TraceError(f"{name}: all visits begin at the same moment: there is no rate to learn")
    tick = tick_s(gathered.at_ns)
    start_ns = gathered.at_ns[0]
    moments_s = [(at_ns - start_ns) / NS_PER_S for at_ns in gathered.at_ns]
    states, places = learn_states(gathered, KEPT_FROM)
    return Learned(
        gathered=gathered,
        calendar=Calendar.of(moments_s[-1], header.created),
        tick_s=tick,
        moments_s=moments_s,
        states=states,
        places=places,
        sequences=[tuple([places[number] for number in sequence]) for sequence in gathered.sequences],
        thinks_s=gathered.thinks_by_visit(),
        # Not the header's own words: nobody looked whether they name somebody.
        source="fit",
        anonymized=header.anonymized,
    )


def in_held_out(learned: Learned) -> list[bool]:
    """For each visit whether it begins in a held-out block."""
    calendar = learned.calendar
    return [calendar.held_out(calendar.block(at_s)) for at_s in learned.moments_s]


def fit_model(learned: Learned, *, held_out: bool = False) -> TrafficModel:
    """The model of all visits, or of those outside the held-out blocks."""
    chosen = [not out for out in in_held_out(learned)] if held_out else [True] * len(learned.moments_s)
    windows = learned.calendar.windows(False if held_out else None)
    arrivals = learn_arrivals(learned.moments_s, windows, learned.calendar, learned.tick_s).to_model()
    visits = [number for number, taken in enumerate(chosen) if taken]
    tables = Tables()
    cohorts, journeys = _cohorts(learned, visits, tables)
    return TrafficModel(
        harness_traffic=1,
        source=learned.source,
        anonymized=learned.anonymized,
        arrivals=arrivals,
        states=_with_sections(learned),
        journeys=journeys,
        cohorts=cohorts,
        thinks=tables.tables,
        values=_values(learned.gathered),
        returns=_returns(learned.gathered, visits),
    )


def about(learned: Learned, digest: str, table: list[Dimension]) -> Fit:
    """What a fitted model says about where it comes from."""
    gathered = learned.gathered
    block = "hour" if learned.calendar.period_s == DAY_S else f"block of {learned.calendar.block_s:.4g} s"
    return Fit(
        visits=len(gathered.at_ns),
        steps=gathered.steps,
        span_s=learned.moments_s[-1],
        digest=digest,
        held_out=f"every fifth {block}",
        held_out_visits=sum(in_held_out(learned)),
        fidelity=table,
    )


def naive(learned: Learned, model: TrafficModel, *, bins: int) -> TrafficModel:
    """A model fitted to the same visits without memory: Poisson arrivals at a rate by bin, and visits that toss coins.

    Every step is drawn alike, ends with the same probability, and is left after an exponential pause.
    """
    windows = learned.calendar.windows(False)
    chosen = [number for number, out in enumerate(in_held_out(learned)) if not out]
    first = Counter(learned.sequences[number][0] for number in chosen)
    later = Counter(state for number in chosen for state in learned.sequences[number][1:])
    pauses_s = [think_s for number in chosen for think_s in learned.thinks_s[number][1:]]
    steps = sum(len(learned.sequences[number]) for number in chosen)
    mean_s = sum(pauses_s) / len(pauses_s) if pauses_s else 0.0
    end = len(chosen) / steps
    moves = [Move(to=state, share=count / later.total(), think=1) for state, count in sorted(later.items())]
    states = len(learned.states)
    journey = Journey(
        start=[Move(to=state, share=count / first.total(), think=0) for state, count in sorted(first.items())],
        moves=[moves] * states,
        ends=[[end if moves else 1.0]] * states,
        max_steps=10_000,
    )
    return msgspec.structs.replace(
        model,
        arrivals=count_rates(learned.moments_s, windows, learned.calendar, bins).to_model(),
        journeys=[journey],
        cohorts=[msgspec.structs.replace(cohort, journey=0) for cohort in model.cohorts],
        thinks=[[0.0, 0.0], _exponential(mean_s)],
    )


def _exponential(mean_s: float) -> list[float]:
    """Quantiles of an exponential law, up to 99.9 %."""
    return [round(-mean_s * log1p(-min(step / 200, 0.999)), 6) for step in range(201)]


def _cohorts(learned: Learned, visits: Sequence[int], tables: Tables) -> tuple[list[Cohort], list[Journey]]:
    gathered = learned.gathered
    # A label that a handful of visitors have might name them; their visits count in the journey of all.
    kept = {name for name, _ in gathered.cohort_tally.kept()}
    counts = Counter(name for number in visits if (name := gathered.cohorts[number]) in kept)
    counts = counts or Counter({_ANY_COHORT: len(visits)})

    def journey(of: Sequence[int]) -> Journey:
        sequences = [learned.sequences[number] for number in of]
        return learn_journey(sequences, [learned.thinks_s[number] for number in of], len(learned.states), tables)

    journeys = [journey(visits)]
    cohorts = []
    for name, count in counts.most_common():
        number = 0
        if count >= _OWN_JOURNEY_FROM and len(counts) > 1:
            number = len(journeys)
            journeys.append(journey([each for each in visits if gathered.cohorts[each] == name]))
        seen = gathered.details.get(name)
        cohorts.append(
            Cohort(
                name=name,
                share=count / counts.total(),
                journey=number,
                details=_details(seen) if seen else [],
                address=gathered.addresses[name] / seen.total if seen and seen.total else 0.0,
            )
        )
    return cohorts, journeys


def _details(seen: Tally) -> list[Details]:
    """Devices that enough visitors share; of the others device family and system, if enough share these."""
    kept = [(dict(value), count) for value, count in seen.kept()]
    coarse: dict[tuple[Any, ...], tuple[int, set[int]]] = {}
    for value, count, visitors in seen.rare():
        key = tuple(pair for pair in value if pair[0] in ("deviceFamily", "os"))
        before, shared = coarse.get(key, (0, set()))
        coarse[key] = before + count, shared | visitors
    kept += [(dict(key), count) for key, (count, shared) in coarse.items() if len(shared) >= KEPT_FROM]
    total = sum(count for _, count in kept)
    return [Details(share=count / total, value=value) for value, count in kept]


def _with_sections(learned: Learned) -> list[State]:
    """The states with the consumerSections that their steps had, where enough visitors share these."""
    sections = learned.gathered.sections
    found = list(learned.states)
    for number, place in enumerate(learned.places):
        kept = sections[number].kept() if number in sections and not found[place].mixed else []
        if kept:
            found[place] = msgspec.structs.replace(found[place], sections=_sections(kept))
    return found


def _sections(kept: list[tuple[Any, int]]) -> list[Sections]:
    total = sum(count for _, count in kept)
    return [Sections(share=count / total, value=list(value)) for value, count in kept]


def _values(gathered: Gathered) -> Values:
    dropped: dict[str, int] = {}
    attributes = {}
    for kind, collector in gathered.collectors.items():
        if collector.total:
            attributes[kind] = collector.shape(dropped)
    pooled: Counter[Any] = Counter()
    for tally in gathered.sections.values():
        for value, count in tally.kept():
            pooled[value] += count
    if rare := len(gathered.cohort_tally.rare()):
        dropped["cohort"] = rare
    return Values(sections=_sections(pooled.most_common()), attributes=attributes, kept_from=KEPT_FROM, dropped=dropped)


def _returns(gathered: Gathered, visits: Sequence[int]) -> Returns | None:
    came_back = sum(gathered.returning[number] for number in visits)
    if not came_back or not len(gathered.return_gaps_s):
        return None
    return Returns(share=came_back / len(visits), gap_s=quantiles(gathered.return_gaps_s))
