"""Shapes of values: what is drawn from them, and what is learned for them."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

import orjson
import pytest

from harness.trace.traffic.harvest import KEPT, KEPT_FROM, MADE, Tally, attribute_collectors, mask_of
from harness.trace.traffic.shapes import (
    DIGIT,
    ChoiceShape,
    Field,
    MadeShape,
    ManyShape,
    Mask,
    NumberShape,
    Option,
    Pool,
    RecordShape,
    TextShape,
    sample,
)
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.personal import TREATMENTS
from harness.wire.schema import Either, Many, Node, Record, Text

HASHES = [hash_ * 7919 + 3 for hash_ in range(200)]


def learned(kind: str, values: list[tuple[dict[str, Any], int]]) -> tuple[RecordShape, dict[str, int]]:
    """The shape of attributes (with their visitors) and what was dropped."""
    collector = attribute_collectors(KEPT_FROM, anonymized=True)[kind]
    for value, visitor in values:
        collector.add(value, visitor)
    dropped: dict[str, int] = {}
    return collector.shape(dropped), dropped


def test_a_sample_has_the_shares_of_its_shape() -> None:
    """Fields, counts, choices and numbers come as often as the shape says (four standard deviations)."""
    shape = RecordShape(
        fields={
            "kind": Field(
                share=1.0, shape=ChoiceShape(options=[Option(share=0.7, value="a"), Option(share=0.3, value=2)])
            ),
            "rare": Field(share=0.1, shape=NumberShape(quantiles=[0.0, 10.0], decimals=1)),
            "many": Field(share=1.0, shape=ManyShape(counts=[0.5, 0.0, 0.5], item=MadeShape(what="first_name"))),
        }
    )
    rng = Random(1)
    drawn = [sample(shape, rng) for _ in range(4000)]
    assert Counter(value["kind"] for value in drawn)["a"] == pytest.approx(2800, abs=4 * 29)
    assert sum("rare" in value for value in drawn) == pytest.approx(400, abs=4 * 19)
    assert sum(len(value["many"]) == 2 for value in drawn) == pytest.approx(2000, abs=4 * 32)
    numbers = [value["rare"] for value in drawn if "rare" in value]
    assert all(0 <= number <= 10 and round(number, 1) == number for number in numbers)
    assert sum(numbers) / len(numbers) == pytest.approx(5, abs=0.6)


def test_a_pool_draws_digits_anew_and_leaves_the_rest() -> None:
    """Each use of a variant has digits of its own, as many as marked; percent signs and other text stay."""
    pool = Pool([{"id": f"C-{DIGIT * 12}%", "note": "100 % d"}])
    rng = Random(1)
    drawn = [orjson.loads(pool.draw(rng)) for _ in range(50)]
    assert {value["note"] for value in drawn} == {"100 % d"}
    assert all(re.fullmatch(r"C-\d{12}%", value["id"]) for value in drawn)
    assert len({value["id"] for value in drawn}) == 50


def test_made_up_values_are_from_what_is_reserved_for_examples() -> None:
    """E-mails are at example.com, phones 555-01xx, addresses in 192.0.2.0/24."""
    rng = Random(1)
    made = {
        what: orjson.loads(Pool([sample(MadeShape(what=what), rng)]).draw(rng))
        for what in ("email", "phone", "address")
    }
    assert re.fullmatch(r"[a-z]+\.\d{7}@example\.com", made["email"])
    assert re.fullmatch(r"\+1 202 555 01\d\d", made["phone"])
    assert re.fullmatch(r"192\.0\.2\.\d{1,3}", made["address"])


@pytest.mark.parametrize(
    ("text", "mask"),
    [("C-1042", "A-9999"), ("Zoë O'Neil", "Aaa A'Aaaa"), ("東京 €5", "aa -9"), ("", ""), ("x" * 100, "a" * 80)],
)
def test_masks(text: str, mask: str) -> None:
    """A mask keeps the form of a text: classes of characters and ASCII punctuation."""
    assert mask_of(text) == mask


def test_a_value_is_kept_from_five_visitors_on() -> None:
    """Four visitors' currency is dropped however often they sent it, five visitors' is kept, with its share."""
    few = [({"type": "lead", "lead": {"currency": "XAU"}}, HASHES[n % 4]) for n in range(400)]
    five = [({"type": "lead", "lead": {"currency": "EUR"}}, HASHES[10 + n]) for n in range(5)]
    many = [({"type": "lead", "lead": {"currency": "USD"}}, HASHES[20 + n % 15]) for n in range(2000)]
    shape, dropped = learned("lead", few + five + many)
    currency = shape.fields["lead"].shape.fields["currency"]  # type: ignore[union-attr]
    assert currency.share == 1.0
    assert {option.value: option.share for option in currency.shape.options} == {  # type: ignore[union-attr]
        "USD": pytest.approx(2000 / 2005),
        "EUR": pytest.approx(5 / 2005),
    }
    assert dropped == {"lead.lead.currency": 1}


def test_free_text_becomes_its_mask_and_rare_masks_a_word() -> None:
    """Of a text that is not kept the mask is learned if five visitors share it; else any word stands for it."""
    shape, _ = learned(
        "lead", [({"type": "lead", "lead": {"leadId": f"AB-{n:03d}"}}, HASHES[n]) for n in range(9)]
        + [({"type": "lead", "lead": {"leadId": "my name is Zoe"}}, HASHES[50])]
    )  # fmt: skip
    assert shape.fields["lead"].shape.fields["leadId"].shape == TextShape(masks=[Mask(share=1.0, mask="AA-999")])  # type: ignore[union-attr]
    rare, _ = learned("lead", [({"type": "lead", "lead": {"leadId": "secret 1"}}, HASHES[1])])
    assert rare.fields["lead"].shape.fields["leadId"].shape == TextShape(masks=[Mask(share=1.0, mask="aaaaaaaa")])  # type: ignore[union-attr]


def test_numbers_are_means_of_at_least_five_visitors() -> None:
    """A quantile of a number is a mean of neighbours, and a visitor counts once however often it sends one."""
    values = [({"type": "lead", "lead": {"value": 1000.5 + n}}, HASHES[n]) for n in range(60)]
    values += [({"type": "lead", "lead": {"value": 77_777.25}}, HASHES[0]) for _ in range(500)]
    shape, _ = learned("lead", values)
    number = shape.fields["lead"].shape.fields["value"].shape  # type: ignore[union-attr]
    assert isinstance(number, NumberShape)
    wanted = [sum(1000.5 + n for n in range(low, low + 5)) / 5 for low in range(0, 60, 5)]
    assert number.quantiles == pytest.approx(wanted)
    assert number.decimals == 2


def test_numbers_that_many_share_are_a_choice() -> None:
    """Few distinct numbers stay what they are: a status of a service case is no mean."""
    values = [({"type": "service", "service": {"status": n % 3}}, HASHES[n]) for n in range(90)]
    shape, _ = learned("service", values)
    status = shape.fields["service"].shape.fields["status"].shape  # type: ignore[union-attr]
    assert {(option.value, round(option.share, 3)) for option in status.options} == {(0, 0.333), (1, 0.333), (2, 0.333)}  # type: ignore[union-attr]


def test_alternate_spellings_are_learned_as_the_usual_ones() -> None:
    """`Products` is learned as `products`, and a flat ctmrinfo as one under `info`."""
    cart = {"type": "cart", "total": 1, "numItems": 1, "Products": [{"product": {"name": "shoe"}}]}
    shape, _ = learned("cart", [(cart, visitor) for visitor in HASHES[:9]])
    assert set(shape.fields) == {"total", "numItems", "products"}
    flat, _ = learned("ctmrinfo", [({"type": "ctmrinfo", "cstatus": "new"}, visitor) for visitor in HASHES[:9]])
    assert set(flat.fields) == {"info"}


def test_tallies_tell_types_apart() -> None:
    """1, 1.0, True and "1" are four values."""
    tally = Tally(1)
    for value in (1, 1.0, True, "1", 1):
        tally.add(value, 1)
    assert [(repr(value), count) for value, count in tally.kept()] == [("1", 2), ("'1'", 1), ("1.0", 1), ("True", 1)]


def paths(prefix: str, node: Node) -> dict[str, Node]:
    """Every leaf of a contract table, by its path."""
    if isinstance(node, Record):
        return {
            path: leaf
            for name, inner in node.fields.items()
            if name != "type"
            for path, leaf in paths(f"{prefix}.{name}", inner).items()
        }
    return paths(prefix, node.item) if isinstance(node, Many) else {prefix: node}


def test_policies_name_fields_that_exist() -> None:
    """Every field whose values may be kept, or are made up, is one of the contract's; none is both."""
    known = {path: leaf for kind, record in ATTRIBUTE_TYPES.items() for path, leaf in paths(kind, record).items()}
    assert not (KEPT | MADE.keys()) - known.keys()
    assert not KEPT & MADE.keys()
    for path, leaf in known.items():
        canonical = leaf.canonical if isinstance(leaf, Either) else leaf
        if isinstance(canonical, Text) and (canonical.values or canonical.pattern):
            assert path in KEPT, f"{path} has a set of values or a form: no mask can make one"


def test_nothing_that_names_a_person_may_be_kept() -> None:
    """Fields that anonymizing takes for names, mails, phones or addresses are never kept as they are."""
    naming = {path for path, treatment in TREATMENTS.items() if treatment in ("name", "email", "phone", "ip")}
    assert len(naming) > 8
    assert not naming & KEPT
