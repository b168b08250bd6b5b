"""Walks a request by the schema and the table of treatments, and lets nothing through that neither of them names.

The table (`harness.wire.personal`, changed by a policy) is compiled once into functions, one for each place of the
schema. The walk is as deep as the schema: what stands deeper, under another key or in another type is replaced or left
out whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from harness.wire.personal import REQUESTS, TREATMENTS, Treatment, inside
from harness.wire.schema import ByType, Free, Many, Node, Problem, Record, has_errors

# With seven digits it could be a phone number.
_VERSION: Final = re.compile(r"(?!(?:[0-9]\.?){7})[0-9]{1,3}(\.[0-9]{1,3}){0,2}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_AMOUNT_BELOW: Final = 100_000
_COUNT_BELOW: Final = 10_000


class Masks(Protocol):
    """What stands in for the values that must not pass; each method is given one of them."""

    def token(self, text: str) -> str: ...
    def name(self, text: str) -> str: ...
    def email(self, text: str) -> str: ...
    def phone(self, text: str) -> str: ...
    def ip(self, text: str) -> str: ...
    def coarse(self, number: int | float) -> int | float: ...
    def drop(self, value: object) -> None: ...


Clean = Callable[[Any, Masks], Any]
_DROPPED: Final = object()


class _NoMasks:
    """Stands in for no value."""

    def token(self, value: Any) -> Any:
        return _DROPPED

    name = email = phone = ip = coarse = drop = token


def lets_through(path: str, node: Node) -> Callable[[Any], bool]:
    """Whether a value of a field would stay as it is, without a policy; `node` is what the schema says of the field."""
    clean = Scrubber.treated(TREATMENTS[path], node) if path in TREATMENTS else deny
    masks = _NoMasks()
    return lambda value: clean(value, masks) is value


class Scrubber:
    """Requests without personal data, under a policy: path -> treatment, over and above the table.

    A policy may name fields that the schema does not know; `unused` are paths of it that lead nowhere.
    """

    def __init__(self, policy: Mapping[str, Treatment] | None = None) -> None:
        self._treatments = {**TREATMENTS, **(policy or {})}
        self._extra: dict[str, list[str]] = {}
        for path in (policy or {}).keys() - TREATMENTS.keys():
            parent, _, _ = path.rpartition(".")
            self._extra.setdefault(parent, []).append(path)
        self.unused = set(policy or {}) - TREATMENTS.keys()
        self._requests = {op: self._compile(record, "") for op, record in REQUESTS.items()}

    def scrub(self, op: str, request: Any, masks: Masks) -> Any:
        """The request of an operation as it may be passed on; the one given is not changed."""
        return self._requests[op](request, masks)

    def _compile(self, node: Node, path: str) -> Clean:
        if path in self._treatments:
            treated = self.treated(self._treatments[path], node)
            return _many(treated) if isinstance(node, Many) and treated is not _drop else treated
        if isinstance(node, Many):
            return _many(self._compile(node.item, path))
        if isinstance(node, Record):
            return _record(self._fields(node, path))
        if isinstance(node, ByType):
            kinds = {kind: self._fields(record, kind) for kind, record in node.table.items()}
            return _by_type({kind: _record({**fields, "type": _as_it_is}) for kind, fields in kinds.items()})
        return deny

    def _fields(self, record: Record, path: str) -> dict[str, Clean]:
        """A function for each key that may stand in a record: its fields, their aliases, those of `flat` beside it."""
        fields = {name: self._compile(node, inside(path, name)) for name, node in record.fields.items()}
        for extra in self._extra.get(path, ()):
            name = extra.rpartition(".")[2]
            if name not in fields:
                self.unused.discard(extra)
                fields[name] = self.treated(self._treatments[extra], Free())
        nested = record.fields.get(record.flat)
        beside = self._fields(nested, inside(path, record.flat)) if isinstance(nested, Record) else {}
        aliases = {alias: fields[name] for alias, name in record.aliases.items()}
        return {**beside, **aliases, **fields}

    @staticmethod
    def treated(treatment: Treatment, node: Node) -> Clean:
        """What a treatment does to a value of a field."""
        if treatment == "closed":
            return _flag if isinstance(node, Free) else _closed(node)
        return _TREATMENTS[treatment]


def deny(value: Any, masks: Masks) -> Any:
    """What is left of a value that has no right to be where it stands: its type."""
    if type(value) is str:
        return masks.token(value)
    if type(value) is int or type(value) is float:
        return masks.coarse(value)
    if value is None or type(value) is bool:
        return value
    masks.drop(value)
    return [] if type(value) is list else {}


def _many(item: Clean) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        if type(value) is not list:
            return deny(value, masks)
        cleaned = (item(one, masks) for one in value)
        return [one for one in cleaned if one is not _DROPPED]

    return clean


def _record(fields: Mapping[str, Clean]) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        if type(value) is not dict:
            return deny(value, masks)
        cleaned = {}
        for key, item in value.items():
            treat = fields.get(key)
            if treat is None:
                masks.drop({key: item})
            elif (left := treat(item, masks)) is not _DROPPED:
                cleaned[key] = left
        return cleaned

    return clean


def _by_type(kinds: Mapping[str, Clean]) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        if type(value) is not dict:
            return deny(value, masks)
        kind = value.get("type")
        known = kinds.get(kind) if type(kind) is str else None
        if known is not None:
            return known(value, masks)
        masks.drop({key: item for key, item in value.items() if key != "type"})
        return {"type": deny(kind, masks)} if "type" in value else {}

    return clean


def _drop(value: Any, masks: Masks) -> Any:
    masks.drop(value)
    return _DROPPED


def _as_it_is(value: Any, masks: Masks) -> Any:
    return value


def _keep(value: Any, masks: Masks) -> Any:
    return deny(value, masks) if type(value) in (list, dict) else value


def _closed(node: Node) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        found: list[Problem] = []
        node.check(value, "", found)
        return deny(value, masks) if has_errors(found) else value

    return clean


def _flag(value: Any, masks: Masks) -> Any:
    return value if value is None or type(value) is bool else deny(value, masks)


def _form(pattern: re.Pattern[str]) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        return value if type(value) is str and pattern.fullmatch(value) else deny(value, masks)

    return clean


def _amount(value: Any, masks: Masks) -> Any:
    plain = type(value) in (int, float) and abs(value) < _AMOUNT_BELOW and round(value, 2) == value
    return value if plain else deny(value, masks)


def _count(value: Any, masks: Masks) -> Any:
    return value if type(value) is int and 0 <= value < _COUNT_BELOW else deny(value, masks)


def _masked(mask: str) -> Clean:
    def clean(value: Any, masks: Masks) -> Any:
        return getattr(masks, mask)(value) if type(value) is str else deny(value, masks)

    return clean


_TREATMENTS: Final[dict[Treatment, Clean]] = {
    "keep": _keep,
    "version": _form(_VERSION),
    "currency": _form(_CURRENCY),
    "amount": _amount,
    "count": _count,
    "coarse": deny,
    "drop": _drop,
    **{mask: _masked(mask) for mask in ("name", "email", "phone", "ip", "token")},
}
