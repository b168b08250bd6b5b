"""What a rehearsal came to besides its records: how much there was at once, and how fast it came."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RehearsalEnd:
    """Peaks are of the whole rehearsal and exact; means are of the time in which visits arrived, `arrivals_ns` long.

    `…_ns` of a level is the time that all of them spent until then, added up. `ended_ns` is when the last visit was
    over. `…_per_s_max` and `…_per_min_max` are the most in any second or minute, wherever it begins. `new_sessions`
    counts calls that asked for a session. `ports_max` is the most connections open or in TIME_WAIT at once.
    """

    visits: int
    arrivals_ns: int
    ended_ns: int
    visits_open_max: int
    visits_open_ns: int
    in_flight_max: int
    in_flight_ns: int
    connections_max: int
    connections_ns: int
    visits_per_s_max: int
    calls_per_s_max: int
    connects_per_s_max: int
    ports_max: int
    new_sessions: int
    new_sessions_per_min_max: int

    @property
    def visits_open_mean(self) -> float | None:
        """Visits open on average while visits arrived; None when they all arrived at once."""
        return self._mean(self.visits_open_ns)

    @property
    def in_flight_mean(self) -> float | None:
        """Calls under way on average while visits arrived."""
        return self._mean(self.in_flight_ns)

    @property
    def connections_mean(self) -> float | None:
        """Connections open on average while visits arrived."""
        return self._mean(self.connections_ns)

    def _mean(self, spent_ns: int) -> float | None:
        return spent_ns / self.arrivals_ns if self.arrivals_ns else None
