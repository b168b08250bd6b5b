"""Ids have the forms seen of the real service and depend on their arguments alone."""

from __future__ import annotations

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from harness.sim.ids import draw, page_id, session_id, unit, visitor_id

BITS = st.integers(0, 2**64 - 1)


@given(BITS)
def test_a_vid_hides_fifteen_hex_digits(bits: int) -> None:
    """22 base64url characters; characters 3 to 22 decode to 15 lowercase hex digits (contract 3.5)."""
    vid = visitor_id(bits)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", vid)
    assert re.fullmatch(rb"[0-9a-f]{15}", base64.urlsafe_b64decode(vid[2:]))


@given(BITS, BITS)
def test_a_sid_is_its_128_bits(high: int, low: int) -> None:
    """22 base64url characters decode to exactly the bits they were made from."""
    sid = session_id(high, low)
    assert len(sid) == 22
    assert int.from_bytes(base64.urlsafe_b64decode(sid + "=="), "big") == high << 64 | low


@given(BITS)
def test_a_page_id_is_a_decimal_of_at_most_ten_digits(bits: int) -> None:
    """A pageId is a positive decimal number without leading zeros."""
    assert re.fullmatch(r"[1-9][0-9]{0,9}", page_id(bits))


def test_distinct_vids_for_distinct_bits() -> None:
    """No bit of the 64 is lost in a vid."""
    assert len({visitor_id(1 << bit) for bit in range(64)}) == 64


def test_draws_depend_on_seed_entity_and_counter_alone() -> None:
    """The same arguments give the same draws, any other argument others."""
    assert draw(1, "a", 2) == draw(1, "a", 2)
    assert len({draw(1, "a", 2).page_bits, draw(2, "a", 2).page_bits, draw(1, "b", 2).page_bits}) == 3


def test_units_are_uniform() -> None:
    """Ten bins of 10,000 draws hold 1,000 each, within five standard deviations."""
    bins = [0] * 10
    for counter in range(10_000):
        bins[int(unit(draw(1, "u", counter).available_bits) * 10)] += 1
    assert all(abs(count - 1_000) < 150 for count in bins)
