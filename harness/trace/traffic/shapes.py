"""The shape of values: what an attribute's fields look like in law, and how JSON is made from it, fast.

A shape is a tree: records of fields with shares, lists with counts, and leaves that are a choice among kept values, a
number between quantiles, a text by its mask (`A` a capital, `a` a small letter, `9` a digit, all else stands for
itself), or one of the made-up kinds, which use the names, domains, numbers and addresses reserved for examples. So no
personal value is ever needed to make one.

Making JSON field by field would cost more than everything else in a visit. A `Pool` makes a number of variants of a
shape once, and each use takes one of them and draws its digits anew, so that ids, numbers and mailboxes differ.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from math import fsum
from random import Random
from string import ascii_lowercase, ascii_uppercase
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta

from harness.wire.attributes import ATTRIBUTE_TYPES

Scalar = str | int | float | bool
Share = Annotated[float, Meta(ge=0, le=1)]
MadeUp = Literal["email", "phone", "first_name", "last_name", "address"]

VARIANTS = 512
MAX_ITEMS = 50

FIRST_NAMES = ("Alex", "Dana", "Jona", "Kim", "Luca", "Mika", "Noa", "Robin", "Sam", "Toni")
LAST_NAMES = ("Example", "Muster", "Sample", "Specimen", "Testova")
# Stands for one digit that is drawn at each use; a private-use character, so no text has it by chance.
DIGIT = "\ue000"
_DIGITS = re.compile(f"(?:{DIGIT}){{1,9}}".encode())


class _Shape(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Common to all shapes."""


class Option(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One value of a choice."""

    share: Share
    value: Scalar


class ChoiceShape(_Shape, tag="choice"):
    """One of some values."""

    options: Annotated[list[Option], Meta(min_length=1)]


class NumberShape(_Shape, tag="number"):
    """A number between quantiles that lie at equal steps of probability; 0 decimals make integers."""

    quantiles: Annotated[list[float], Meta(min_length=2)]
    decimals: Annotated[int, Meta(ge=0, le=9)] = 0


class Mask(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One mask of a text."""

    share: Share
    mask: Annotated[str, Meta(max_length=200)]


class TextShape(_Shape, tag="text"):
    """A text with one of some masks."""

    masks: Annotated[list[Mask], Meta(min_length=1)]


class MadeShape(_Shape, tag="made"):
    """A made-up personal value."""

    what: MadeUp


class Field(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A field of a record, with the share of records that have it."""

    share: Share
    shape: Shape


class RecordShape(_Shape, tag="record"):
    """An object."""

    fields: dict[str, Field]


class ManyShape(_Shape, tag="many"):
    """A list: `counts[n]` is the share of lists with n items."""

    counts: Annotated[list[Share], Meta(min_length=1, max_length=MAX_ITEMS + 1)]
    item: Shape


Shape = ChoiceShape | NumberShape | TextShape | MadeShape | RecordShape | ManyShape


def shape_problems(attributes: Mapping[str, RecordShape]) -> Iterator[str]:
    """What the types cannot say about shapes: unknown attribute types, shares that do not add up to 1."""
    for kind, shape in attributes.items():
        path = f"values.attributes.{kind[:40]}"
        if kind not in ATTRIBUTE_TYPES:
            yield f"{path}: is no attribute type"
        yield from _problems(path, shape)


def _problems(path: str, shape: Shape) -> Iterator[str]:
    shares: list[float] | None = None
    if isinstance(shape, RecordShape):
        for name, each in shape.fields.items():
            yield from _problems(f"{path}.{name}", each.shape)
    elif isinstance(shape, ManyShape):
        shares = shape.counts
        yield from _problems(f"{path}[]", shape.item)
    elif isinstance(shape, ChoiceShape):
        shares = [option.share for option in shape.options]
    elif isinstance(shape, TextShape):
        shares = [mask.share for mask in shape.masks]
    elif isinstance(shape, NumberShape) and shape.quantiles != sorted(shape.quantiles):
        yield f"{path}: quantiles must ascend"
    if shares is not None and not 0.999 <= fsum(shares) <= 1.001:
        yield f"{path}: the shares add up to {fsum(shares):.4g}, not to 1"


def pick(shares: Iterable[float]) -> list[float]:
    """Cumulated shares, ending with 1, for `bisect(…, random())`."""
    sums = list(accumulate(shares))
    return [each / sums[-1] for each in sums[:-1]]


def sample(shape: Shape, rng: Random) -> Any:
    """A JSON value of the shape; digits of masks and of made-up values are left as `DIGIT` marks."""
    if isinstance(shape, RecordShape):
        return {
            name: sample(each.shape, rng)
            for name, each in shape.fields.items()
            if each.share >= 1 or rng.random() < each.share
        }
    if isinstance(shape, ManyShape):
        return [sample(shape.item, rng) for _ in range(bisect(pick(shape.counts), rng.random()))]
    if isinstance(shape, ChoiceShape):
        return shape.options[bisect(pick(option.share for option in shape.options), rng.random())].value
    if isinstance(shape, NumberShape):
        value = between(shape.quantiles, rng.random())
        return round(value, shape.decimals) if shape.decimals else round(value)
    if isinstance(shape, TextShape):
        return _unmasked(shape.masks[bisect(pick(mask.share for mask in shape.masks), rng.random())].mask, rng)
    return _made(shape.what, rng)


def between(quantiles: list[float], share: float) -> float:
    """The value below which a `share` (0 to 1) lies, of quantiles at equal steps."""
    place = share * (len(quantiles) - 1)
    index = min(int(place), len(quantiles) - 2)
    low = quantiles[index]
    return low + (place - index) * (quantiles[index + 1] - low)


def _unmasked(mask: str, rng: Random) -> str:
    letters = {"A": ascii_uppercase, "a": ascii_lowercase, "9": DIGIT}
    return "".join(rng.choice(letters[each]) if each in letters else each for each in mask)


def _made(what: MadeUp, rng: Random) -> str:
    if what == "email":
        return f"{rng.choice(FIRST_NAMES).lower()}.{DIGIT * 7}@example.com"
    if what == "phone":
        return f"+1 202 555 01{DIGIT * 2}"
    if what == "address":
        return f"192.0.2.{rng.randrange(1, 255)}"
    return rng.choice(FIRST_NAMES if what == "first_name" else LAST_NAMES)


class Pool:
    """Variants of JSON texts whose digits are drawn at each use."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._variants = [_variant(orjson.dumps(value)) for value in values]
        self._count = len(self._variants)

    def draw(self, rng: Random) -> bytes:
        """One JSON text."""
        random = rng.random
        text, limits = self._variants[int(random() * self._count)]
        return text % tuple([int(random() * limit) for limit in limits]) if limits else text


def _variant(text: bytes) -> tuple[bytes, tuple[int, ...]]:
    """A JSON text as a format, and for each of its numbers the power of ten it stays below."""
    runs = [len(run) // len(DIGIT.encode()) for run in _DIGITS.findall(text)]
    if not runs:
        return text, ()
    lengths = iter(runs)
    text = _DIGITS.sub(lambda _: b"%%0%dd" % next(lengths), text.replace(b"%", b"%%"))
    return text, tuple(10**length for length in runs)
