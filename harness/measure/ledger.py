"""The books of a run: every planned visit and step is accounted for, by name of what became of it (house section 6).

    per worker   dealt = completed + censored + dropped + lost + revoked
    in total     planned = completed + censored + dropped + lost + undealt

and likewise for steps, with the step outcomes in place of the ends. Moves that would break an equation raise and
change nothing, so at the run's end the books can fail to balance in one way only: something dealt is still open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.measure.names import SETTLED_STEPS, SETTLED_VISITS


class LedgerError(ValueError):
    """A move that would make the books wrong: a bug of the fleet's, not of the target's."""


class _Account:
    """What one worker got and what became of it."""

    def __init__(self, ends: Sequence[str]) -> None:
        self.dealt = 0
        self.revoked = 0
        self.lost = 0
        self.settled = dict.fromkeys(ends, 0)

    @property
    def open(self) -> int:
        return self.dealt - sum(self.settled.values()) - self.lost - self.revoked

    def row(self) -> dict[str, int]:
        return {"dealt": self.dealt, **self.settled, "lost": self.lost, "revoked": self.revoked}


class _Book:
    """The accounts of one kind of thing. `check_…` raises or does nothing; the moves themselves trust it."""

    def __init__(self, what: str, ends: Sequence[str]) -> None:
        self.what = what
        self.ends = tuple(ends)
        self.planned = 0
        self.accounts: dict[str, _Account] = {}

    @property
    def undealt(self) -> int:
        return self.planned - sum(account.dealt - account.revoked for account in self.accounts.values())

    def check_amount(self, n: int) -> None:
        if n < 0:
            raise LedgerError(f"{n} {self.what}: an amount cannot be negative")

    def check_deal(self, n: int) -> None:
        self.check_amount(n)
        if n > self.undealt:
            raise LedgerError(f"cannot deal {n} {self.what}: {self.undealt} are undealt")

    def check_take(self, worker: str, amounts: Mapping[str, int]) -> None:
        if worker not in self.accounts:
            raise LedgerError(f"worker {worker} was never dealt anything")
        for name, n in amounts.items():
            if name not in (*self.ends, "revoked"):
                raise LedgerError(f"'{name}' is not a way in which {self.what} are settled")
            self.check_amount(n)
        total, still_open = sum(amounts.values()), self.accounts[worker].open
        if total > still_open:
            raise LedgerError(f"worker {worker} cannot account for {total} {self.what}: {still_open} are open")

    def totals(self) -> dict[str, int]:
        accounts = self.accounts.values()
        settled = {name: sum(account.settled[name] for account in accounts) for name in self.ends}
        lost = sum(account.lost for account in accounts)
        return {"planned": self.planned, **settled, "lost": lost, "undealt": self.undealt}


class Ledger:
    """The master's books of visits and of their steps. Amounts are counts, 0 or more; misuse raises `LedgerError`."""

    def __init__(self) -> None:
        self._visits = _Book("visits", SETTLED_VISITS)
        self._steps = _Book("steps", SETTLED_STEPS)
        self._books = (self._visits, self._steps)

    def plan(self, visits: int, steps: int) -> None:
        """Add `visits` with `steps` in all to what is planned; they are undealt."""
        for book, n in zip(self._books, (visits, steps), strict=True):
            book.check_amount(n)
        self._visits.planned += visits
        self._steps.planned += steps

    def deal(self, worker: str, visits: int, steps: int) -> None:
        """Give undealt ones to `worker` (its id, of this incarnation)."""
        for book, n in zip(self._books, (visits, steps), strict=True):
            book.check_deal(n)
        for book, n in zip(self._books, (visits, steps), strict=True):
            book.accounts.setdefault(worker, _Account(book.ends)).dealt += n

    def settle(self, worker: str, visits: Mapping[str, int], steps: Mapping[str, int]) -> None:
        """Enter what a worker reports: counts by visit end and by step outcome (names, `lost` excepted)."""
        for book, amounts in zip(self._books, (visits, steps), strict=True):
            book.check_take(worker, amounts)
            if "revoked" in amounts:
                raise LedgerError("what is revoked is not settled: use revoke")
        for book, amounts in zip(self._books, (visits, steps), strict=True):
            for name, n in amounts.items():
                book.accounts[worker].settled[name] += n

    def revoke(self, worker: str, visits: int, steps: int) -> None:
        """Take back ones that the worker had not begun: they are undealt again."""
        for book, n in zip(self._books, (visits, steps), strict=True):
            book.check_take(worker, {"revoked": n})
        for book, n in zip(self._books, (visits, steps), strict=True):
            book.accounts[worker].revoked += n

    def lose(self, worker: str) -> tuple[int, int]:
        """Write off whatever a worker still had open; returns how many (visits, steps)."""
        for book in self._books:
            book.check_take(worker, {})
        lost = self.open(worker)
        for book, n in zip(self._books, lost, strict=True):
            book.accounts[worker].lost += n
        return lost

    def open(self, worker: str) -> tuple[int, int]:
        """How many (visits, steps) a worker was dealt and has not accounted for; (0, 0) for an unknown one."""
        visits, steps = (book.accounts[worker].open if worker in book.accounts else 0 for book in self._books)
        return visits, steps

    def totals(self) -> dict[str, dict[str, int]]:
        """{"visits": {planned, completed, …, undealt}, "steps": {planned, available, …, undealt}}."""
        return {book.what: book.totals() for book in self._books}

    def workers(self, what: str = "visits") -> dict[str, dict[str, int]]:
        """Per worker {dealt, completed, censored, dropped, lost, revoked}; of "steps": the outcomes instead."""
        book = {book.what: book for book in self._books}[what]
        return {worker: account.row() for worker, account in sorted(book.accounts.items())}

    def problems(self) -> list[str]:
        """Why the equations do not hold, one line each; empty when the books balance."""
        return [
            f"worker {worker}: {account.open} of {account.dealt} dealt {book.what} are not accounted for"
            for book in self._books
            for worker, account in sorted(book.accounts.items())
            if account.open
        ]
