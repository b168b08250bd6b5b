"""Learning the shape of values, and nothing of anybody's.

A collector is built for each attribute type from the contract's own table and fed with valid attributes only. What it
may say is decided by the field, not by what stands there:

- a value of a field in `KEPT` (currencies, categories, statuses, campaigns) is kept if `kept_from` visitors share it;
- in a trace that is not anonymized only if `anonymize` would let that value stay, and numbers about persons count with
  one digit, as it leaves them;
- numbers become quantiles, each the mean of at least `kept_from` visitors' values, or a choice if many share each;
- any other text becomes its mask (`Aaaa-999`), if as many share it, else an arbitrary word;
- personal fields become made-up values whatever they hold, and keys that the contract does not know are not looked at.

Numbers are sampled by visitor: of each visitor one value, of all visitors those with the least hash, so the sample is
uniform over visitors, bounded, and the same whatever the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any, Protocol

from harness.trace.privacy.pseudonyms import one_digit
from harness.trace.privacy.scrub import lets_through
from harness.trace.traffic.shapes import (
    MAX_ITEMS,
    ChoiceShape,
    Field,
    MadeShape,
    MadeUp,
    ManyShape,
    Mask,
    NumberShape,
    Option,
    RecordShape,
    Scalar,
    Shape,
    TextShape,
)
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.schema import Either, Many, Node, Record, Text

KEPT_FROM = 5

MADE: dict[str, MadeUp] = {
    "personal.personal.firstname": "first_name",
    "personal.personal.lastname": "last_name",
    "personal.personal.contacts.email": "email",
    "personal.personal.contacts.phone": "phone",
}
_PRODUCTS = ("cart.products.product", "prodView.products.product", "purchase.cart.products.product")
KEPT = frozenset(
    [f"{place}.currency" for place in ("cart", "prodView", "purchase", "lead.lead", "ctmrinfo.info")]
    + [f"{product}.{field}" for product in _PRODUCTS for field in ("name", "category", "sku")]
    + ["prodView.products.product.statusInStock"]
    + [f"ctmrinfo.info.{field}" for field in ("ctype", "cstatus", "role")]
    + [f"mrktInfo.info.{field}" for field in ("channel", "affiliate", "campaignId")]
    + [f"personal.personal.{field}" for field in ("gender", "language", "contacts.phoneType")]
    + [f"personal.personal.contacts.address.{field}" for field in ("country", "region")]
    + ["lead.lead.topic", "service.service.topic", "service.service.category"]
    + ["error.error.code", "error.error.contextId"]
)

_MOST_VALUES = 2000
_SAMPLED = 2000
_KNOTS = 40
_MOST_CHOICES_OF_NUMBERS = 50
# A choice must stand for most of what was seen; else the rest would be misrepresented by it.
_CHOICE_COVERS = 0.8
_LONGEST_MASK = 80
_ANY_WORD = "aaaaaaaa"


class Tally:
    """How often values were seen, and whether enough visitors share each.

    Visitors (any hashable) are remembered by value only until there are enough; at most 2,000 values are told apart.
    """

    def __init__(self, kept_from: int) -> None:
        self._kept_from = kept_from
        self._counts: Counter[Any] = Counter()
        self._visitors: dict[Any, set[int]] = {}
        self.total = 0

    def add(self, value: Any, visitor: int) -> None:
        """Count a value that a visitor had."""
        self.total += 1
        # 1, 1.0 and True are one key to a dict, but three values.
        key = (type(value), value)
        if key not in self._counts and len(self._counts) >= _MOST_VALUES:
            return
        self._counts[key] += 1
        seen = self._visitors.setdefault(key, set())
        if len(seen) < self._kept_from:
            seen.add(visitor)

    def kept(self) -> list[tuple[Any, int]]:
        """Values that enough visitors share, with their counts, most frequent first (ties by value)."""
        kept = [(key[1], count) for key, count in self._counts.items() if len(self._visitors[key]) >= self._kept_from]
        return sorted(kept, key=lambda pair: (-pair[1], str(pair[0])))

    def rare(self) -> list[tuple[Any, int, set[int]]]:
        """The other values, with counts and visitors."""
        return [
            (key[1], self._counts[key], seen) for key, seen in self._visitors.items() if len(seen) < self._kept_from
        ]


class _Collector(Protocol):
    def add(self, value: Any, visitor: int) -> None:
        """Take one valid value."""

    def shape(self, dropped: dict[str, int]) -> Shape | None:
        """What was learned, or None when nothing may be said."""


class _Leaf:
    """A scalar field."""

    def __init__(self, path: str, node: Node, kept_from: int, anonymized: bool) -> None:
        self._path = path
        self._stays = _anything if anonymized else lets_through(path, node)
        self._kept_from = kept_from
        self._values = Tally(kept_from)
        self._masks = Tally(kept_from)
        self._numbers: dict[int, float] = {}
        self._decimals = 0
        canonical = node.canonical if isinstance(node, Either) else node
        # A text with a set of values or a form cannot be made from a mask.
        self._free_text = isinstance(canonical, Text) and not canonical.values and canonical.pattern is None
        self._keeps_text = path in KEPT

    def add(self, value: Any, visitor: int) -> None:
        if isinstance(value, str):
            if self._keeps_text and self._stays(value):
                self._values.add(value, visitor)
            self._masks.add(mask_of(value), visitor)
            return
        if not self._stays(value):
            value = one_digit(value)
        self._values.add(value, visitor)
        if not isinstance(value, bool):
            self._decimals = max(self._decimals, _decimals(value))
            self._sample(value, visitor)

    def shape(self, dropped: dict[str, int]) -> Shape | None:
        kept = self._values.kept()
        covered = sum(count for _, count in kept)
        few = len(kept) <= _MOST_CHOICES_OF_NUMBERS or not self._numbers
        seen = max(self._values.total, self._masks.total)
        if rare := len(self._values.rare()):
            dropped[self._path] = rare
        if kept and few and covered >= _CHOICE_COVERS * seen:
            return _choice(kept)
        if len(self._numbers) >= 2 * self._kept_from:
            return NumberShape(quantiles=self._knots(), decimals=self._decimals)
        if self._free_text and self._masks.total:
            masks = self._masks.kept()
            dropped[self._path] = dropped.get(self._path, 0) + len(self._masks.rare())
            total = sum(count for _, count in masks)
            return TextShape(
                masks=[Mask(share=count / total, mask=mask) for mask, count in masks]
                or [Mask(share=1.0, mask=_ANY_WORD)]
            )
        return _choice(kept) if kept else None

    def _sample(self, value: float, visitor: int) -> None:
        numbers = self._numbers
        if visitor in numbers:
            return
        numbers[visitor] = value
        # Those beyond the sample are removed now and then; none of them could have come back into it.
        if len(numbers) >= 2 * _SAMPLED:
            self._numbers = dict(islice(sorted(numbers.items()), _SAMPLED))

    def _knots(self) -> list[float]:
        """Quantiles at equal steps, each the mean of neighbours in order, as many as are kept from at least."""
        values = sorted(value for _, value in islice(sorted(self._numbers.items()), _SAMPLED))
        groups = min(_KNOTS, len(values) // self._kept_from)
        ends = [len(values) * number // groups for number in range(groups + 1)]
        return [sum(values[low:high]) / (high - low) for low, high in pairwise(ends)]


class _Made:
    """A personal field: only that it is there is learned."""

    def __init__(self, what: MadeUp) -> None:
        self._shape = MadeShape(what=what)

    def add(self, value: Any, visitor: int) -> None:
        """Nothing is taken from the value."""

    def shape(self, dropped: dict[str, int]) -> Shape | None:
        return self._shape


class _Object:
    """A record: its fields by the contract, and how many records have each."""

    def __init__(self, path: str, record: Record, kept_from: int, anonymized: bool) -> None:
        self._record = record
        self._fields = {
            name: _collector(f"{path}.{name}", node, kept_from, anonymized)
            for name, node in record.fields.items()
            if name != "type"
        }
        self.total = 0
        self._present: Counter[str] = Counter()

    def add(self, value: Any, visitor: int) -> None:
        self.total += 1
        for name, item in self._canonical(value).items():
            collector = self._fields.get(name)
            if collector is not None:
                self._present[name] += 1
                collector.add(item, visitor)

    def shape(self, dropped: dict[str, int]) -> RecordShape:
        shapes = {name: self._fields[name].shape(dropped) for name in self._fields if self._present[name]}
        return RecordShape(
            fields={
                name: Field(share=self._present[name] / self.total, shape=shape)
                for name, shape in shapes.items()
                if shape is not None
            }
        )

    def _canonical(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The value with alternate spellings by their usual names, and flat fields where they usually stand."""
        aliases, flat = self._record.aliases, self._record.flat
        found = {aliases.get(key, key): item for key, item in value.items()}
        if flat and flat not in found:
            nested = self._record.fields[flat]
            beside = {key: item for key, item in found.items() if isinstance(nested, Record) and key in nested.fields}
            if beside:
                found[flat] = beside
        return found


class _List:
    """An array: how many items, and what they are."""

    def __init__(self, path: str, item: Node, kept_from: int, anonymized: bool) -> None:
        self._item = _collector(path, item, kept_from, anonymized)
        self._counts: Counter[int] = Counter()

    def add(self, value: Any, visitor: int) -> None:
        items = value[:MAX_ITEMS]
        self._counts[len(items)] += 1
        for item in items:
            self._item.add(item, visitor)

    def shape(self, dropped: dict[str, int]) -> Shape | None:
        item = self._item.shape(dropped)
        total = self._counts.total()
        if item is None or not total:
            return None
        return ManyShape(counts=[self._counts[n] / total for n in range(max(self._counts) + 1)], item=item)


def attribute_collectors(kept_from: int, *, anonymized: bool) -> dict[str, _Object]:
    """A collector for each of the contract's attribute types."""
    return {kind: _Object(kind, record, kept_from, anonymized) for kind, record in ATTRIBUTE_TYPES.items()}


def _collector(path: str, node: Node, kept_from: int, anonymized: bool) -> _Collector:
    if path in MADE:
        return _Made(MADE[path])
    if isinstance(node, Record):
        return _Object(path, node, kept_from, anonymized)
    if isinstance(node, Many):
        return _List(path, node.item, kept_from, anonymized)
    return _Leaf(path, node, kept_from, anonymized)


def _anything(value: object) -> bool:
    return True


def mask_of(text: str) -> str:
    """The form of a text: letters as `A` or `a`, digits as `9`, ASCII punctuation as it is, anything else as `-`."""
    return "".join(_mask_of_character(each) for each in text[:_LONGEST_MASK])


def _mask_of_character(each: str) -> str:
    if each.isdigit():
        return "9"
    if each.isalpha():
        return "A" if each.isupper() else "a"
    return each if " " <= each <= "~" else "-"


def _decimals(value: float) -> int:
    """Decimals with which a number was written; a float has at least one, as some fields need the fraction."""
    if isinstance(value, int):
        return 0
    text = repr(value)
    return 2 if "e" in text else min(len(text.partition(".")[2]), 6)


def _choice(kept: list[tuple[Scalar, int]]) -> ChoiceShape:
    total = sum(count for _, count in kept)
    return ChoiceShape(options=[Option(share=count / total, value=value) for value, count in kept])
