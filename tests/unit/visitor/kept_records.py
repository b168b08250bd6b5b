"""A recorder that keeps what it is given: for tests of whoever makes records."""

from __future__ import annotations

from harness.visitor.records import Attempt, StepOutcome, VisitOutcome


class KeptRecords:
    """Keeps every record as it came, in order, and how often connections were opened and used again."""

    def __init__(self) -> None:
        self.all_attempts: list[Attempt] = []
        self.all_steps: list[StepOutcome] = []
        self.all_visits: list[VisitOutcome] = []
        self.started: list[tuple[int, str]] = []
        self.connections: dict[str, int] = {}

    def attempts(self, batch: list[Attempt]) -> None:
        self.all_attempts += batch

    def steps(self, batch: list[StepOutcome]) -> None:
        self.all_steps += batch

    def visits(self, batch: list[VisitOutcome]) -> None:
        self.all_visits += batch

    def visit_started(self, planned_ns: int, cohort: str) -> None:
        self.started.append((planned_ns, cohort))

    def connection(self, event: str, n: int = 1) -> None:
        self.connections[event] = self.connections.get(event, 0) + n
