"""`Window`: the range that a dashboard shows, and what Grafana's variables become in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from harness.dashboards.model import Dashboard, Panel
from harness.errors import UsageError
from harness.units import parse_duration_ns

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_MAX_POINTS = 400


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """From `start_s` to `end_s` (Unix time), scraped every `scrape_s` seconds."""

    start_s: float
    end_s: float
    scrape_s: int = 1

    def step_s(self, panel: Panel) -> int:
        """The distance of points, in whole seconds: at least a scrape and the panel's own least interval."""
        least_s = parse_duration_ns(panel.least_interval) // 10**9 if panel.least_interval else 1
        return max(round((self.end_s - self.start_s) / _MAX_POINTS), self.scrape_s, least_s)

    def fill(self, expr: str, panel: Panel, chosen: Mapping[str, str]) -> str:
        """`expr` with every variable replaced: Grafana's own by this window, others as `chosen`.

        Raises `UsageError` on a variable that is neither.
        """
        step_s = self.step_s(panel)
        range_s = max(round(self.end_s - self.start_s), 1)
        values = {
            "__interval": f"{step_s}s",
            # As Grafana's Prometheus data source makes it.
            "__rate_interval": f"{max(step_s + self.scrape_s, 4 * self.scrape_s)}s",
            "__range": f"{range_s}s",
            "__range_s": str(range_s),
            "__from": str(round(self.start_s * 1000)),
            "__to": str(round(self.end_s * 1000)),
            **chosen,
        }

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in values:
                raise UsageError(f"the variable ${name} is not one of the dashboard, in: {expr}")
            return values[name]

        return _VARIABLE.sub(value, expr)


def defaults(dashboard: Dashboard) -> dict[str, str]:
    """The dashboard's own variables with nothing chosen."""
    return {variable.name: variable.default for variable in dashboard.variables}
