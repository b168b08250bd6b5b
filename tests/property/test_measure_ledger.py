"""The ledger under any sequence of moves: the equations hold after each, and illegal ones change nothing."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness.measure.ledger import Ledger, LedgerError

amounts = st.integers(0, 6)
names = st.sampled_from(["w1", "w2", "w3"])
ends = st.dictionaries(st.sampled_from(["completed", "censored", "dropped"]), amounts)
outcomes = st.dictionaries(st.sampled_from(["available", "failed", "censored"]), amounts)


class Books(RuleBasedStateMachine):
    """Plays random moves against a plain second set of books: counts of open items per worker."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.undealt = [0, 0]
        self.open: dict[str, list[int]] = {}

    def state(self) -> object:
        return self.ledger.totals(), self.ledger.workers(), self.ledger.workers("steps")

    def move(self, legal: bool, action: object, *arguments: object) -> bool:
        assert callable(action)
        if legal:
            action(*arguments)
        else:
            before = self.state()
            with pytest.raises(LedgerError):
                action(*arguments)
            assert self.state() == before
        return legal

    @rule(visits=amounts, steps=amounts)
    def plan(self, visits: int, steps: int) -> None:
        self.ledger.plan(visits, steps)
        self.undealt = [self.undealt[0] + visits, self.undealt[1] + steps]

    @rule(worker=names, visits=amounts, steps=amounts)
    def deal(self, worker: str, visits: int, steps: int) -> None:
        legal = visits <= self.undealt[0] and steps <= self.undealt[1]
        if self.move(legal, self.ledger.deal, worker, visits, steps):
            held = self.open.setdefault(worker, [0, 0])
            self.open[worker] = [held[0] + visits, held[1] + steps]
            self.undealt = [self.undealt[0] - visits, self.undealt[1] - steps]

    @rule(worker=names, visits=ends, steps=outcomes)
    def settle(self, worker: str, visits: dict[str, int], steps: dict[str, int]) -> None:
        self.take(worker, sum(visits.values()), sum(steps.values()), self.ledger.settle, visits, steps)

    @rule(worker=names, visits=amounts, steps=amounts)
    def revoke(self, worker: str, visits: int, steps: int) -> None:
        if self.take(worker, visits, steps, self.ledger.revoke, visits, steps):
            self.undealt = [self.undealt[0] + visits, self.undealt[1] + steps]

    @rule(worker=names)
    def lose(self, worker: str) -> None:
        held = self.open.get(worker, [0, 0])
        self.take(worker, *held, self.ledger.lose)

    def take(self, worker: str, visits: int, steps: int, action: object, *arguments: object) -> bool:
        held = self.open.get(worker)
        legal = held is not None and visits <= held[0] and steps <= held[1]
        if self.move(legal, action, worker, *arguments) and held is not None:
            self.open[worker] = [held[0] - visits, held[1] - steps]
        return legal

    @invariant()
    def equations_hold(self) -> None:
        for index, what in enumerate(("visits", "steps")):
            book = self.ledger.totals()[what]
            still_open = sum(held[index] for held in self.open.values())
            assert book["planned"] == sum(n for name, n in book.items() if name != "planned") + still_open
            assert book["undealt"] == self.undealt[index]
            for worker, row in self.ledger.workers(what).items():
                assert row["dealt"] == sum(n for name, n in row.items() if name != "dealt") + self.open[worker][index]

    @invariant()
    def problems_name_what_is_open(self) -> None:
        assert len(self.ledger.problems()) == sum(n > 0 for held in self.open.values() for n in held)


test_ledger = Books.TestCase
