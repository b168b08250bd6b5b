"""A quantity over time in at most 120 bins: their width doubles when the time outgrows them, so memory is constant."""

from __future__ import annotations

from typing import Final

MAX_BINS: Final = 120
_BARS: Final = "▁▂▃▄▅▆▇█"


class Curve:
    """Sums and peaks for each bin of time from zero on; `bin_s` is the width of a bin now.

    `sums` holds what was added, for `hold` level times seconds; `peaks` the highest level of each bin.
    """

    def __init__(self, bin_s: float) -> None:
        self.bin_s = bin_s
        self.sums: list[float] = []
        self.peaks: list[int] = []
        self.total = 0.0

    def add(self, at_s: float, amount: int) -> None:
        """Something happened at a moment, so many times."""
        place = self._reach(at_s)
        self.sums[place] += amount
        self.peaks[place] = max(self.peaks[place], amount)
        self.total += amount

    def hold(self, from_s: float, to_s: float, level: int) -> None:
        """A level was held from one moment to another."""
        last = self._reach(to_s)
        self.total += level * (to_s - from_s)
        while True:
            place = min(int(from_s / self.bin_s), last)
            end_s = to_s if place == last else (place + 1) * self.bin_s
            self.sums[place] += level * (end_s - from_s)
            self.peaks[place] = max(self.peaks[place], level)
            if place == last:
                return
            from_s = end_s

    def bars(self, most: int = 60) -> str:
        """The sums as a line of at most so many bars, the highest at full height."""
        each = -(-len(self.sums) // most) or 1
        values = [sum(self.sums[place : place + each]) for place in range(0, len(self.sums), each)]
        top = max(values, default=0.0)
        return "".join(_BARS[min(7, int(8 * value / top))] if top else _BARS[0] for value in values)

    def _reach(self, at_s: float) -> int:
        """The bin of a moment, made if there is none yet."""
        while at_s >= MAX_BINS * self.bin_s:
            self.bin_s *= 2
            self.sums = [sum(self.sums[place : place + 2]) for place in range(0, len(self.sums), 2)]
            self.peaks = [max(self.peaks[place : place + 2]) for place in range(0, len(self.peaks), 2)]
        place = int(at_s / self.bin_s)
        missing = place + 1 - len(self.sums)
        if missing > 0:
            self.sums += [0.0] * missing
            self.peaks += [0] * missing
        return place
