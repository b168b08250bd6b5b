"""The names of all series that are exported: by a run, and into a history."""

from __future__ import annotations

from harness.export.example import example_page

# Written by `history.py`; name to help text.
HISTORY = {
    "harness_history_value": "A metric of a run, in base units (s, ratio, 1/s).",
    "harness_history_baseline": "The baseline that the run was compared with: median, and the band around it.",
    "harness_history_change_ratio": "The level of the metric moved with this run, by this share.",
    "harness_history_verdict": "1 for the run's verdict.",
    "harness_history_exit_code": "What the run's command ended with.",
}


def series_names() -> dict[str, str]:
    """Every name that a query may use, to its family: of a histogram the name itself and its three classic parts."""
    names = {name: name for name in HISTORY}
    for family in example_page().families:
        names[family.name] = family.name
        if family.kind == "histogram":
            names |= {f"{family.name}_{part}": family.name for part in ("bucket", "sum", "count")}
    return names
