"""How visits arrive, from their times in order: rate, gaps, and how bursty they are; in constant memory.

Two measures of burstiness. The coefficient of variation of the gaps sees neighbours (1 for a Poisson process). The
index of dispersion is the variance over the mean of the counts in windows of one width (1 for Poisson at every
width); where it grows with the width, the rate itself moves. Windows without a visit count; the first and the last are
whole.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

WINDOWS_S: Final = (1, 10, 60, 600)
# Fewer windows say nothing about a variance.
_MIN_WINDOWS: Final = 5


class Arrivals:
    """Sums over the times of visits, fed in order."""

    def __init__(self) -> None:
        self._first_s = 0.0
        self._last_s = 0.0
        self._count = 0
        self._windows = {width_s: _Windows(width_s) for width_s in WINDOWS_S}
        # Running mean and sum of squared deviations of the gaps (Welford 1962): no cancellation.
        self._gap_mean_s = 0.0
        self._gap_squares = 0.0

    def add(self, at_s: float) -> None:
        """The next visit's time."""
        if self._count:
            gap_s = at_s - self._last_s
            off_s = gap_s - self._gap_mean_s
            self._gap_mean_s += off_s / self._count
            self._gap_squares += off_s * (gap_s - self._gap_mean_s)
        else:
            self._first_s = at_s
        self._count += 1
        self._last_s = at_s
        for windows in self._windows.values():
            windows.add(at_s)

    @property
    def span_s(self) -> float:
        """From the first visit to the last."""
        return self._last_s - self._first_s

    def to_obj(self) -> dict[str, float | dict[str, float | None] | None]:
        """Mean and peak per second, variation of the gaps, dispersion by width; null where there is too little."""
        seconds = self._windows[1]
        return {
            "mean_hz": round(seconds.mean(), 4),
            "peak_hz": seconds.peak(),
            "gap_cv": self._gap_cv(),
            "dispersion": seconds.dispersion(1),
            "dispersion_by_window": {
                f"{width_s}s": windows.dispersion(_MIN_WINDOWS) for width_s, windows in self._windows.items()
            },
        }

    def _gap_cv(self) -> float | None:
        gaps = self._count - 1
        return round(sqrt(self._gap_squares / gaps) / self._gap_mean_s, 3) if gaps > 0 and self._gap_mean_s else None


class _Windows:
    """Counts of visits in windows of one width that begin at its multiples."""

    def __init__(self, width_s: int) -> None:
        self._width_s = width_s
        self._first: int | None = None
        self._window = 0
        self._inside = 0
        self._closed = 0
        self._squares = 0
        self._peak = 0

    def add(self, at_s: float) -> None:
        window = int(at_s / self._width_s)
        if window != self._window or self._first is None:
            self._first = window if self._first is None else self._first
            self._closed += self._inside
            self._squares += self._inside**2
            self._peak = max(self._peak, self._inside)
            self._window, self._inside = window, 0
        self._inside += 1

    def mean(self) -> float:
        return (self._closed + self._inside) / self._number()

    def peak(self) -> int:
        return max(self._peak, self._inside)

    def dispersion(self, least: int) -> float | None:
        number = self._number()
        mean = self.mean()
        if number < least or not mean:
            return None
        return round(((self._squares + self._inside**2) / number - mean**2) / mean, 3)

    def _number(self) -> int:
        return self._window - (self._first or 0) + 1
