"""Which worker plays a visitor: always the same one, as long as it lives, and workers share nothing.

Rendezvous hashing weighted by capacity: every visitor ranks the workers by its own draw and goes to the first, so the
loss of a worker moves only its own visitors, and a new one takes its share from all. Who was told to come again must
not move when a worker joins, because the vid to come back with is known where it was last: such visitors are marked in
the bit field of the era (the membership) they were first placed in, and that era goes on deciding about them. A bit
that two visitors share keeps one of them where it need not be, which harms nothing. Memory is constant.
"""

from __future__ import annotations

from math import log
from zlib import crc32

# So many memberships are kept in mind; visitors of older ones may move.
MAX_ERAS = 16
_BITS = 1 << 23
_ALL = (1 << 64) - 1
# As many draws as a float tells apart, and one more: a logarithm of 1 would be 0.
_DRAWS = float(1 << 53) + 2


class _Era:
    """A membership, and who was first placed under it and comes again."""

    __slots__ = ("_marks", "_workers", "alike")

    def __init__(self, workers: dict[str, tuple[int, float]]) -> None:
        self._workers = workers
        self.alike = len({weight for _, weight in workers.values()}) <= 1
        self._marks: bytearray | None = None

    @property
    def marked(self) -> bool:
        return self._marks is not None

    def mark(self, key: int) -> None:
        if self._marks is None:
            self._marks = bytearray(_BITS // 8)
        for bit in (key % _BITS, _mix(key) % _BITS):
            self._marks[bit >> 3] |= 1 << (bit & 7)

    def knows(self, key: int) -> bool:
        marks = self._marks
        assert marks is not None
        return all(marks[bit >> 3] >> (bit & 7) & 1 for bit in (key % _BITS, _mix(key) % _BITS))

    def first(self, key: int) -> str:
        """The worker that this visitor ranks first."""
        workers = self._workers
        if len(workers) == 1:
            return next(iter(workers))
        spread = _mix(key)
        best, best_draw, best_score = "", -1, -1.0
        for incarnation, (factor, weight) in workers.items():
            draw = spread * factor & _ALL
            if self.alike:
                # The draws themselves rank as the scores would.
                if draw > best_draw:
                    best, best_draw = incarnation, draw
            else:
                score = weight / -log(((draw >> 11) + 1) / _DRAWS)
                if score > best_score:
                    best, best_score = incarnation, score
        return best


class Placement:
    """Places visitors on incarnations."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[int, float]] = {}
        self._era = _Era(self._workers)
        self._past: list[_Era] = []

    def join(self, incarnation: str, weight: float) -> None:
        """The incarnation takes its share of the visitors that come for the first time from now on."""
        # An era of which nobody is left decides about nobody.
        if self._era.marked and self._workers:
            self._past = [*self._past, self._era][-MAX_ERAS:]
        self._workers = {**self._workers, incarnation: (_factor(incarnation), weight)}
        self._era = _Era(self._workers)

    def leave(self, incarnation: str) -> None:
        """The incarnation is gone: its visitors go to others, those of others stay."""
        for era in (*self._past, self._era):
            era._workers.pop(incarnation, None)
        self._past = [era for era in self._past if era._workers]

    def place(self, visitor: str, returns: bool) -> str:
        """The incarnation for this visitor; `returns`: it will come again. There must be somebody."""
        key = crc32(visitor.encode())
        for era in self._past:
            if era.knows(key):
                return era.first(key)
        if returns:
            self._era.mark(key)
        return self._era.first(key)


def _factor(incarnation: str) -> int:
    """An odd number of the worker's own: its product with a visitor's number is the draw of the two."""
    return _mix(crc32(incarnation.encode()) << 16) | 1


def _mix(number: int) -> int:
    """Spreads a number over 64 bits: checksums alone are linear, and would share out unevenly."""
    number = (number ^ number >> 29) * 0xBF58476D1CE4E5B9 & _ALL
    return (number ^ number >> 32) * 0x94D049BB133111EB & _ALL
