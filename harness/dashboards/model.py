"""What a dashboard is here, before Grafana's JSON: questions with the queries that answer them.

`grafana.py` makes JSON of it, `preview.py` draws it, `check.py` executes it; all three read the same definitions
(`run.py`, `capacity.py`, `regression.py`). Queries are PromQL with Grafana's variables (`$__rate_interval`, `$instance`
and so on), always over the range that is shown: a run is over when one looks at it, and its series have ended.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["stat", "timeseries", "xychart"]
Colour = Literal["green", "yellow", "red", "blue", "text"]


class Query(msgspec.Struct, frozen=True):
    """A PromQL expression and the legend of its series, in which `{{label}}` stands for a label's value."""

    expr: str
    legend: str
    dashed: bool = False
    points: bool = False
    band_to: str = ""  # the legend of the line down to which the space is filled
    against: str = ""  # in an xychart, the legend of the query that has the x values


class Meaning(msgspec.Struct, frozen=True):
    """The word and colour of a number that is a code."""

    value: int
    word: str
    colour: Colour


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A question (`title`) and its answer. `about` says how to read it; `width` is in 24ths, `height` in rows.

    `unit` is Grafana's name of a unit. `limits` are (from, colour) steps, the first from minus infinity. In an
    `xychart` queries with `against` are drawn, the others are their x values. `errors` says that the panel shows what
    a faulty target does, zero otherwise. `least_interval` is the smallest distance of points.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    stacked: bool = False
    meanings: tuple[Meaning, ...] = ()
    limits: tuple[tuple[float | None, Colour], ...] = ()
    x_title: str = ""
    x_unit: str = "short"
    errors: bool = False
    least_interval: str = ""


class Row(msgspec.Struct, frozen=True):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A choice above the panels: the values of a label, or (without `metric`) a number to be typed in."""

    name: str
    label: str
    metric: str = ""
    default: str = ".*"


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """Moments that are marked in all panels: where `expr` has a value."""

    name: str
    expr: str
    title: str
    colour: str


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard; `uid` is fixed for good, `since` the range shown at first, `refresh` how often it is renewed."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()
    since: str = "now-15m"
    refresh: str = ""

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]
