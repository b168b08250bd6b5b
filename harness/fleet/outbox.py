"""What a worker has measured and the master has not yet acknowledged."""

from __future__ import annotations

from harness.fleet.messages import SliceReport

RESEND_NS = 1_000_000_000


class Outbox:
    """Slices numbered from 1, handed out for sending until acknowledged, oldest first."""

    def __init__(self) -> None:
        self._pending: dict[int, tuple[SliceReport, int | None]] = {}
        self._number = 0

    def next_number(self) -> int:
        """The number for the next slice."""
        self._number += 1
        return self._number

    def put(self, report: SliceReport) -> None:
        """Adds a slice; it is due for sending at once."""
        self._pending[report.number] = (report, None)

    def due(self, now_ns: int) -> list[SliceReport]:
        """Slices never sent, or sent `RESEND_NS` ago and not acknowledged; counts them as sent now."""
        reports = [
            report for report, sent_ns in self._pending.values() if sent_ns is None or now_ns - sent_ns >= RESEND_NS
        ]
        for report in reports:
            self._pending[report.number] = (report, now_ns)
        return reports

    def acked(self, number: int) -> None:
        """The master has the slice."""
        self._pending.pop(number, None)

    @property
    def empty(self) -> bool:
        """Whether everything put in has been acknowledged."""
        return not self._pending
