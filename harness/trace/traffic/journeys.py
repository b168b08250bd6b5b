"""Learning what visits do: which kinds of step there are, what follows what, where visits end, and the pauses between.

Kinds of step that enough visitors share are states of their own; all rarer combinations of one operation, identity and
set of events become one mixed state, which keeps each attribute type's share. Ends depend on the state and on the
number of the step: both effects are added on the logistic scale where there is too little data for both together.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import exp, log

from harness.trace.traffic.gather import Gathered, Signature
from harness.trace.traffic.model import Journey, Move, State

MAX_STATES = 200
# Ends are learned for each step number up to this one; later ones are alike.
_POSITIONS = 12
_PRIOR_VISITS = 10.0
_NEWTON_ROUNDS = 30
_RIDGE = 0.5
_OWN_TABLE_FROM, _STATE_TABLE_FROM = 100, 30
_MOST_QUANTILES = 100
_ROUNDED = 6


def learn_states(gathered: Gathered, kept_from: int) -> tuple[list[State], list[int]]:
    """The states, and for each signature the number of its state."""
    counts = Counter(number for sequence in gathered.sequences for number in sequence)
    frequent = [number for number, _ in counts.most_common() if len(gathered.visitors_of[number]) >= kept_from]
    own = set(frequent[:MAX_STATES])
    states: list[State] = []
    place: dict[int, int] = {}
    rare: defaultdict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, signature in enumerate(gathered.signatures):
        if number in own:
            place[number] = len(states)
            states.append(_state(signature, list(signature.attributes), {}))
        else:
            rare[signature.op, signature.identity, signature.events].append(number)
    for numbers in rare.values():
        total = sum(counts[number] for number in numbers)
        kinds: Counter[str] = Counter()
        for number in numbers:
            for kind in set(gathered.signatures[number].attributes):
                kinds[kind] += counts[number]
        for number in numbers:
            place[number] = len(states)
        mixed = {kind: round(count / total, _ROUNDED) for kind, count in sorted(kinds.items())}
        states.append(_state(gathered.signatures[numbers[0]], [], mixed))
    return states, [place[number] for number in range(len(gathered.signatures))]


def _state(signature: Signature, attributes: list[str], mixed: dict[str, float]) -> State:
    return State(
        op=signature.op,
        identity=signature.identity,  # type: ignore[arg-type]
        attributes=attributes,
        events=list(signature.events),
        mixed=mixed,
    )


class Tables:
    """Tables of quantiles, each stored once."""

    def __init__(self) -> None:
        self.tables: list[list[float]] = []
        self._numbers: dict[tuple[float, ...], int] = {}

    def number(self, samples: Iterable[float]) -> int:
        """The number of the table that sums up some samples (at least one)."""
        table = quantiles(samples)
        key = tuple(table)
        if key not in self._numbers:
            self._numbers[key] = len(self.tables)
            self.tables.append(table)
        return self._numbers[key]


def quantiles(samples: Iterable[float]) -> list[float]:
    """Quantiles at equal steps: as many as a tenth of the samples, 2 to 101, rounded to microseconds."""
    values = sorted(samples)
    steps = min(_MOST_QUANTILES, max(1, len(values) // 10))
    table = []
    for step in range(steps + 1):
        place = step / steps * (len(values) - 1)
        index = min(int(place), max(0, len(values) - 2))
        low, high = values[index], values[min(index + 1, len(values) - 1)]
        table.append(round(low + (place - index) * (high - low), _ROUNDED))
    return table


def learn_journey(
    sequences: Sequence[Sequence[int]], thinks_s: Sequence[array[float]], states: int, tables: Tables
) -> Journey:
    """The chain of some visits: sequences of state numbers with their pauses."""
    starts: Counter[int] = Counter()
    follows: defaultdict[int, Counter[int]] = defaultdict(Counter)
    ends: defaultdict[int, Counter[int]] = defaultdict(Counter)
    visits: defaultdict[int, Counter[int]] = defaultdict(Counter)
    pauses: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    first_pauses: defaultdict[int, list[float]] = defaultdict(list)
    for sequence, thinks in zip(sequences, thinks_s, strict=True):
        starts[sequence[0]] += 1
        first_pauses[sequence[0]].append(thinks[0])
        before = -1
        for position, (state, think_s) in enumerate(zip(sequence, thinks, strict=True)):
            visits[state][min(position, _POSITIONS)] += 1
            if position:
                follows[before][state] += 1
                pauses[before, state].append(think_s)
            before = state
        ends[before][min(len(sequence) - 1, _POSITIONS)] += 1
    think = _Thinks(pauses, tables)
    start = [Move(to=state, share=share, think=tables.number(first_pauses[state])) for state, share in _shares(starts)]
    moves = [
        [Move(to=to, share=share, think=think.number(state, to)) for to, share in _shares(follows[state])]
        for state in range(states)
    ]
    return Journey(
        start=start,
        moves=moves,
        ends=_ends(states, visits, ends, follows),
        max_steps=max(len(sequence) for sequence in sequences),
    )


class _Thinks:
    """Pauses by pair of states, or by the one that is left, or by none: the finest that has enough of them."""

    def __init__(self, pauses: dict[tuple[int, int], list[float]], tables: Tables) -> None:
        self._pauses = pauses
        self._tables = tables
        self._by_state: defaultdict[int, list[float]] = defaultdict(list)
        self._all: list[float] = []
        for (state, _), values in pauses.items():
            self._by_state[state] += values
            self._all += values

    def number(self, state: int, to: int) -> int:
        own = self._pauses[state, to]
        if len(own) >= _OWN_TABLE_FROM:
            return self._tables.number(own)
        of_state = self._by_state[state]
        return self._tables.number(of_state if len(of_state) >= _STATE_TABLE_FROM else self._all)


def _shares(counts: Counter[int]) -> list[tuple[int, float]]:
    total = counts.total()
    return [(state, count / total) for state, count in sorted(counts.items())]


def _ends(
    states: int,
    visits: dict[int, Counter[int]],
    ends: dict[int, Counter[int]],
    follows: dict[int, Counter[int]],
) -> list[list[float]]:
    """The probability that a visit ends, by state and step number."""
    positions = 1 + max(max(counts, default=0) for counts in visits.values())
    prior = _additive(
        [[visits[state][position] for position in range(positions)] for state in range(states)],
        [[ends[state][position] for position in range(positions)] for state in range(states)],
    )
    table: list[list[float]] = []
    for state in range(states):
        if not follows[state]:
            table.append([1.0])
            continue
        seen = ((visits[state][position], ends[state][position]) for position in range(positions))
        table.append(
            [
                round((ended + _PRIOR_VISITS * expected) / (count + _PRIOR_VISITS), _ROUNDED)
                for (count, ended), expected in zip(seen, prior[state], strict=True)
            ]
        )
    return table


def _additive(visits: list[list[int]], ends: list[list[int]]) -> list[list[float]]:
    """Probabilities of an end whose logits are a sum of an effect of the state and one of the step number.

    Ridge regression on the logistic scale by Newton steps for one margin after the other; both margins of the expected
    ends then agree with those counted (nearly: the ridge keeps what was hardly seen at the average).
    """
    total, ended = sum(map(sum, visits)), sum(map(sum, ends))
    base = log((ended + 0.5) / (total - ended + 0.5))
    rows, columns = [0.0] * len(visits), [0.0] * len(visits[0])
    for _ in range(_NEWTON_ROUNDS):
        for effects, other, cells in (
            (rows, columns, list(zip(visits, ends, strict=True))),
            (columns, rows, list(zip(zip(*visits, strict=True), zip(*ends, strict=True), strict=True))),
        ):
            for number, (counts, seen) in enumerate(cells):
                expected = [1 / (1 + exp(-(base + effects[number] + each))) for each in other]
                slope = sum(count * p * (1 - p) for count, p in zip(counts, expected, strict=True)) + _RIDGE
                missing = sum(seen) - sum(count * p for count, p in zip(counts, expected, strict=True))
                step = (missing - _RIDGE * effects[number]) / slope
                effects[number] += max(-1.0, min(1.0, step))
    return [[1 / (1 + exp(-(base + row + column))) for column in columns] for row in rows]
