"""The memory of a run's processes while it goes on: the master's, and each worker's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.system.fleet_run import workers_below
from tests.system.harness_run import Command, command_line, descendants

_LOOK_S = 0.2


class Memory:
    """Samples of resident memory in MB, by process ("master", "worker-1", …); each holds all of them."""

    def __init__(self, samples: list[dict[str, float]]) -> None:
        self._samples = samples

    def peaks(self) -> dict[str, float]:
        """The most that each ever had."""
        return {name: max(sample[name] for sample in self._samples) for name in self._samples[0]}

    def growth(self) -> dict[str, float]:
        """By how much the last quarter of the run lies above the second one, each by its mean."""
        return {name: _growth([sample[name] for sample in self._samples]) for name in self._samples[0]}

    def figures(self) -> dict[str, Any]:
        """What evidence says of it."""
        return {
            "rss_peak_mb": {name: round(value, 1) for name, value in self.peaks().items()},
            "rss_last_quarter_over_second_quarter_mb": {name: round(value, 1) for name, value in self.growth().items()},
            "samples": len(self._samples),
        }

    def check(self, *, master_mb: float, worker_mb: float, growth_mb: float) -> None:
        """Fails when a process ever had more than it may, or grew by more than that."""
        peaks, growth = self.peaks(), self.growth()
        assert peaks["master"] <= master_mb, peaks
        assert all(peak <= worker_mb for name, peak in peaks.items() if name != "master"), peaks
        assert all(value <= growth_mb for value in growth.values()), growth


def watch(command: Command, *, workers: int, every_s: float, limit_s: float) -> Memory:
    """Samples the run's master and workers until it has ended (and waits to be reaped)."""
    samples: list[dict[str, float]] = []
    next_s = 0.0
    while not _ended(command.pid) and command.age_s() < limit_s:
        time.sleep(_LOOK_S)
        if command.age_s() < next_s:
            continue
        masters = [pid for pid in descendants(command.pid) if "--master" in command_line(pid)]
        pids = [*masters, *workers_below(command.pid)]
        sizes = [_rss_mb(pid) for pid in pids]
        # Only while all of them are there: before and after there is no run.
        if len(masters) == 1 and len(pids) == 1 + workers and all(sizes):
            names = ["master", *(f"worker-{number}" for number in range(1, workers + 1))]
            samples.append(dict(zip(names, sizes, strict=True)))
            next_s = command.age_s() + every_s
    return Memory(samples)


def _rss_mb(pid: int) -> float:
    """Resident memory of a process now; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _ended(pid: int) -> bool:
    """Whether a child of ours has ended and waits to be reaped, which would take its cost out of reach."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _growth(values: list[float]) -> float:
    quarter = max(1, len(values) // 4)
    second, last = values[quarter : 2 * quarter] or values, values[-quarter:]
    return sum(last) / len(last) - sum(second) / len(second)
