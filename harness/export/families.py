"""What a metrics page holds before it becomes text or protobuf: families of samples and of histograms.

One page is built a snapshot; each format that scrapers ask for is encoded from it (`text_format`, `protobuf`), so that
all of them say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

Labels = tuple[tuple[str, str], ...]

NO_LABELS: Labels = ()


class Buckets(msgspec.Struct, frozen=True):
    """One histogram in both of Prometheus's forms, from the same values.

    Classic: `cumulative[i]` values do not exceed `edges_s[i]` (seconds, ascending). Native: `native[i]` values lie in
    the exponential bucket i of `protobuf.SCHEMA`, `zeros` at zero. `count` includes those infinitely slow, `sum_s` does
    not.
    """

    edges_s: Sequence[float]
    cumulative: Sequence[int]
    count: int
    sum_s: float
    native: Mapping[int, int]
    zeros: int

    @property
    def series(self) -> int:
        """How many series the classic form has."""
        return len(self.edges_s) + 3


class Family(msgspec.Struct, frozen=True):
    """All series of one name. `kind` is counter, gauge or histogram; `text` its help."""

    name: str
    kind: str
    text: str
    samples: list[tuple[Labels, float]] = []
    histograms: list[tuple[Labels, Buckets]] = []


class Page(msgspec.Struct, frozen=True):
    """Families in order. Names and label names must be valid already."""

    families: list[Family] = []

    def family(
        self, name: str, kind: str, text: str, label_names: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
    ) -> None:
        """Adds a family of plain samples: label values (one a name, in order) with the value of each."""
        samples = [(tuple(zip(label_names, labels, strict=True)), value) for labels, value in values]
        self.families.append(Family(name, kind, text, samples))

    def gauge(self, name: str, text: str, value: float) -> None:
        """Adds a gauge without labels."""
        self.families.append(Family(name, "gauge", text, [(NO_LABELS, value)]))

    def histograms(self, name: str, text: str, label_names: Sequence[str], values: Mapping[str, Buckets]) -> None:
        """Adds a family of histograms, by the value of its only label (or of none)."""
        rows = [(tuple((label, value) for label in label_names), buckets) for value, buckets in values.items()]
        self.families.append(Family(name, "histogram", text, [], rows))

    @property
    def series(self) -> int:
        """How many series Prometheus makes of the page, its histograms taken as classic ones."""
        return sum(
            len(family.samples) + sum(buckets.series for _, buckets in family.histograms) for family in self.families
        )
