"""Everything under grafana/ that is made from code: file name to content."""

from __future__ import annotations

import json
from collections.abc import Sequence

from harness.dashboards.capacity import CAPACITY
from harness.dashboards.grafana import to_json
from harness.dashboards.model import Dashboard
from harness.dashboards.regression import REGRESSION
from harness.dashboards.rules import render_rules, rules
from harness.dashboards.run import RUN
from harness.judge.threshold import Threshold

DASHBOARDS: dict[str, Dashboard] = {"run": RUN, "capacity": CAPACITY, "regression": REGRESSION}


def built(thresholds: Sequence[Threshold], source: str) -> dict[str, str]:
    """Dashboards and rules; `source` names the SLO file that `thresholds` come from."""
    files = {
        f"dashboards/{name}.json": json.dumps(to_json(dashboard), indent=2, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }
    return files | {"prometheus/rules.yml": render_rules(rules(thresholds), source)}
