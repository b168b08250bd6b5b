"""A small vocabulary for describing JSON as data, and the checker that walks it.

A table is built from nodes (`Text`, `Number`, `Flag`, `Address`, `Id`, `Free`, `Many`, `Record`, `ByType`, `Either`).
Each node looks at one value, appends what is wrong to a list and never raises, whatever the value is. Findings name the
place and the expectation but never repeat the value: it may be personal. The walk is as deep as the table, so deeply
nested input cannot exhaust the stack.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

Severity = Literal["error", "warning"]
Rule = Literal[
    "json",  # the text is no JSON, or the object cannot be written as JSON
    "type",  # another JSON type is needed
    "enum",  # not one of the allowed values
    "range",  # a number outside its limits
    "format",  # a text of the wrong form
    "required",  # missing
    "unknown",  # a key that the contract does not know
    "foreign",  # a key that belongs to another operation
    "forbidden",  # something that this operation must not carry
    "alternate",  # a form that only some of the documentation uses
    "source",  # an attribute that this kind of device cannot report
    "status",  # an HTTP status that is not documented for the operation
    "code",  # an internalCode that is not documented for the HTTP status
]

# What a JSON integer may be without losing digits in the writer: signed or unsigned 64 bits.
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1

_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a fraction",
    bool: "a boolean",
    type(None): "null",
}
# The usual form of an address, told without taking it apart.
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = re.compile(rf"(?:{_BYTE}\.){{3}}{_BYTE}")
_NUMBER_KINDS = {"number": "a number", "integer": "an integer", "float": "a number with a fraction (30.0)"}


class Problem(NamedTuple):
    """One finding: where (`a.b[0].c`, empty for the whole), which rule, how bad, and one sentence for people.

    An `error` makes the service refuse the request (or the reply unfit for the contract); a `warning` does not.
    """

    path: str
    rule: Rule
    severity: Severity
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Node(Protocol):
    """Anything that can look at one JSON value."""

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        """Append to `found` whatever is wrong with `value`, which stands at `path`."""


def type_name(value: object) -> str:
    """What a value is in the words of JSON: `an object`, `a string`, …"""
    return _TYPE_NAMES.get(type(value), f"a Python {type(value).__name__}")


def child(path: str, key: object) -> str:
    """The path of a member; keys are cut so that a hostile one cannot fill a report."""
    name = key[:64] if isinstance(key, str) else f"<{type_name(key)}>"
    return f"{path}.{name}" if path else name


def _place_below(path: str, found: list[Problem], begin: int) -> None:
    """Puts `path` before the places of the findings from `begin` on.

    A walk without findings, the usual one, thus makes no paths.
    """
    if path and len(found) > begin:
        found[begin:] = [problem._replace(path=f"{path}.{problem.path}") for problem in found[begin:]]


def has_errors(problems: Sequence[Problem]) -> bool:
    """Whether any finding is an error (warnings aside)."""
    return any(problem.severity == "error" for problem in problems)


def _wrong_type(value: object, path: str, wanted: str, found: list[Problem]) -> None:
    found.append(Problem(path, "type", "error", f"is {type_name(value)}, must be {wanted}"))


def _parseable(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return "%" not in address


@dataclass(frozen=True, slots=True)
class Text:
    """A string; if `values` are given one of them, if `pattern` is given one that matches it fully (`form` says it)."""

    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    form: str = ""

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not str:
            _wrong_type(value, path, "a string", found)
        elif self.values and value not in self.values:
            found.append(Problem(path, "enum", "error", f"must be one of {', '.join(self.values)} (case matters)"))
        elif self.pattern and not self.pattern.fullmatch(value):
            found.append(Problem(path, "format", "error", f"must have the form {self.form}"))


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number between `low` and `high`, both included; `kind` narrows its spelling (30 or 30.0)."""

    kind: Literal["number", "integer", "float"] = "number"
    low: int = INTEGER_MIN
    high: int = INTEGER_MAX

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        # bool and subclasses are no JSON numbers, hence no isinstance.
        if not ((type(value) is int and self.kind != "float") or (type(value) is float and self.kind != "integer")):
            _wrong_type(value, path, _NUMBER_KINDS[self.kind], found)
        elif type(value) is float and not math.isfinite(value):
            found.append(Problem(path, "range", "error", "must be a finite number"))
        elif not self.low <= value <= self.high:
            limits = "fit into 64 bits" if self.low == INTEGER_MIN else f"be at least {self.low}"
            if self.high != INTEGER_MAX:
                limits = f"lie between {self.low} and {self.high}"
            found.append(Problem(path, "range", "error", f"must {limits}"))


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not bool:
            _wrong_type(value, path, "true or false", found)


@dataclass(frozen=True, slots=True)
class Free:
    """Anything: the documentation gives the name but no type."""

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        """Nothing can be wrong."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parseable IPv4 or IPv6 address; private ones are fine, a zone (`%eth0`) is not."""

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not str:
            _wrong_type(value, path, "a string", found)
            return
        if not _DOTTED.fullmatch(value) and not _parseable(value):
            found.append(Problem(path, "format", "error", "must be an IPv4 or IPv6 address"))


@dataclass(frozen=True, slots=True)
class Id:
    """An identifier: a string that is not empty, or an integer; with `digits` the string is a decimal number."""

    digits: bool = False

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is str:
            if not value:
                found.append(Problem(path, "format", "error", "must not be empty"))
            elif self.digits and not (value.isascii() and value.isdecimal()):
                found.append(Problem(path, "format", "error", "must consist of digits"))
        elif type(value) is int:
            if not INTEGER_MIN <= value <= INTEGER_MAX:
                found.append(Problem(path, "range", "error", "must fit into 64 bits"))
        else:
            _wrong_type(value, path, "an integer or a string of digits" if self.digits else "a string", found)


@dataclass(frozen=True, slots=True)
class Many:
    """An array whose items are all alike."""

    item: Node

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not list:
            _wrong_type(value, path, "an array", found)
            return
        for index, item in enumerate(value):
            self.item.check(item, f"{path}[{index}]", found)


@dataclass(frozen=True, slots=True)
class Either:
    """The canonical form, or with a warning an alternate form that other parts of the documentation show."""

    canonical: Node
    alternate: Node
    note: str

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        first: list[Problem] = []
        self.canonical.check(value, path, first)
        if has_errors(first):
            second: list[Problem] = []
            self.alternate.check(value, path, second)
            if not has_errors(second):
                first = [Problem(path, "alternate", "warning", self.note), *second]
        found.extend(first)


@dataclass(frozen=True, slots=True)
class Record:
    """An object with known fields.

    `required` fields are an error when missing, `expected` ones a warning. `aliases` maps an alternate spelling to
    its field; `flat` names a field whose own fields may alternatively stand beside it. `foreign` maps names of sister
    operations to what belongs here instead. Any other key is a warning, or nothing when the record is `open`.
    """

    fields: Mapping[str, Node]
    required: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    flat: str = ""
    foreign: Mapping[str, str] = field(default_factory=dict)
    open: bool = False

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not dict:
            _wrong_type(value, path, "an object", found)
            return
        fields, begin = self.fields, len(found)
        others: list[str] = []
        for key, item in value.items():
            node = fields.get(key)
            if node is not None:
                node.check(item, key, found)
            else:
                others.append(self._check_other(key, item, found))
        for name in self.required:
            if name not in value and name not in others:
                found.append(Problem(name, "required", "error", "is missing"))
        for name in self.expected:
            if name not in value and name not in others:
                found.append(Problem(name, "required", "warning", "should be given"))
        _place_below(path, found, begin)

    def _check_other(self, key: object, item: object, found: list[Problem]) -> str:
        """Judge a key that is no field; the field that it stands for, or an empty text."""
        place = child("", key)
        if not isinstance(key, str):
            found.append(Problem(place, "type", "error", "the name of a field must be a string"))
        elif key in self.aliases:
            name = self.aliases[key]
            found.append(Problem(place, "alternate", "warning", f"is usually spelled {name}"))
            self.fields[name].check(item, place, found)
            return name
        elif (node := self._beside(key)) is not None:
            found.append(Problem(place, "alternate", "warning", f"usually stands inside {self.flat}"))
            node.check(item, place, found)
        elif key in self.foreign:
            found.append(Problem(place, "foreign", "warning", self.foreign[key]))
        elif not self.open:
            found.append(Problem(place, "unknown", "warning", "is not a field of the contract; it is sent as it is"))
        return ""

    def _beside(self, key: str) -> Node | None:
        nested = self.fields.get(self.flat)
        return nested.fields.get(key) if isinstance(nested, Record) else None


@dataclass(frozen=True, slots=True)
class ByType:
    """An object whose `type` says which record it is; `refuse` judges a type that the table does not hold."""

    table: Mapping[str, Record]
    refuse: Callable[[str], tuple[Rule, Severity, str]]

    def check(self, value: object, path: str, found: list[Problem]) -> None:
        if type(value) is not dict:
            _wrong_type(value, path, "an object", found)
            return
        kind = value.get("type")
        if type(kind) is not str:
            if "type" in value:
                _wrong_type(kind, child(path, "type"), "a string", found)
            else:
                found.append(Problem(child(path, "type"), "required", "error", "is missing"))
            return
        record = self.table.get(kind)
        if record is None:
            found.append(Problem(child(path, "type"), *self.refuse(kind)))
        else:
            record.check(value, path, found)
