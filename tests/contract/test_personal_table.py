"""The table of treatments against the schema it speaks of: every field has a decision, and none lets a secret by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.wire.personal import REQUESTS, TREATMENTS, inside, leaves
from harness.wire.schema import ByType, Either, Free, Many, Node, Number, Problem, Record, Text, has_errors


def fields(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every field below a node, wholes included, by a walk of our own."""
    if isinstance(node, Either):
        yield path, node.canonical
        yield path, node.alternate
    elif isinstance(node, Many):
        yield from fields(node.item, path)
    elif isinstance(node, Record):
        for name, inner in node.fields.items():
            yield inside(path, name), inner
            yield from fields(inner, inside(path, name))
    elif isinstance(node, ByType):
        for kind, record in node.table.items():
            yield from fields(record, kind)
    else:
        yield path, node


FIELDS = [field for record in REQUESTS.values() for field in fields(record)]


def test_every_field_has_a_treatment_and_every_treatment_a_field() -> None:
    """A field that is new in the schema asks for a decision here; a path that leads nowhere is a mistake."""
    decided = {path for record in REQUESTS.values() for path in leaves(record)}
    assert decided == set(TREATMENTS)
    assert set(TREATMENTS) <= {path for path, _ in FIELDS}


SECRETS = ["Alice", "alice@example.com", "12025550133", "+1 202 555 0133", "22.07.1985", 12025550133, 138766, -98765.4]


@pytest.mark.parametrize("path", sorted(path for path, treatment in TREATMENTS.items() if treatment == "closed"))
def test_what_stays_by_being_closed_is_closed(path: str) -> None:
    """A field that stays when the contract's form holds it has such a form: no secret fits."""
    nodes = [node for found, node in FIELDS if found == path]
    assert nodes
    for node in nodes:
        for secret in SECRETS:
            problems: list[Problem] = []
            node.check(secret, "", problems)
            assert has_errors(problems) or isinstance(node, Free), (path, secret)


def test_open_texts_and_numbers_never_stay_by_themselves() -> None:
    """No text without a closed set, and no number without limits, is treated as closed or kept."""
    for path, node in FIELDS:
        treatment = TREATMENTS.get(path)
        assert treatment != "keep"
        if isinstance(node, Text) and not node.values and not node.pattern:
            assert treatment in (None, "version", "currency", "name", "email", "phone", "ip", "token", "drop"), path
        if isinstance(node, Number) and node == Number(node.kind):
            assert treatment in ("amount", "count", "coarse", "drop"), path
