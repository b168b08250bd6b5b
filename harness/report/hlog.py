"""`.hlog`: one measure second by second in HdrHistogram's log format (1.3), the exchange format of other latency tools.

HdrHistogram has no place for a request that never got a reply; how many there were is said in a comment, and a tool
that reads only the histograms will see too rosy a tail.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UsageError
from harness.measure.snapshot import Snapshot
from harness.units import NS_PER_MS, NS_PER_S

_HIGHEST_NS = 24 * 3600 * NS_PER_S
_DIGITS = 3


def render_hlog(seconds: Mapping[int, Snapshot], measure: str, started_epoch_s: float) -> str:
    """The "ok" row of `measure` as a histogram log, values in ns, maxima in ms.

    `seconds`: snapshots by second since the run's start, which was at `started_epoch_s` (Unix time). Seconds without a
    value are left out. Raises `UsageError` when the optional package hdrhistogram is not installed.
    """
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise UsageError("hlog needs the package hdrhistogram: pip install 'engagement-harness[hlog]'") from error
    lines = []
    infinite = 0
    for second, snapshot in sorted(seconds.items()):
        histogram = snapshot.histogram(measure)
        infinite += histogram.infinite
        if histogram.max_ns is None:
            continue
        hdr = HdrHistogram(1, _HIGHEST_NS, _DIGITS)
        for index, count in histogram.counts.items():
            hdr.record_value(min(max(histogram.value_at(index), 1), _HIGHEST_NS), count)
        lines.append(f"{second:.3f},1.000,{histogram.max_ns / NS_PER_MS:.3f},{hdr.encode().decode()}")
    head = [
        "#[Histogram log format version 1.3]",
        f"#[{measure}: {infinite} without a reply are not in these histograms]",
        f"#[StartTime: {started_epoch_s:.3f} (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    return "\n".join([*head, *lines]) + "\n"
