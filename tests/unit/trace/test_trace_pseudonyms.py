"""Pseudonyms: their shapes, what counts as the same, and the digest against a computation of our own."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re

import pytest

from harness.trace.privacy.pseudonyms import Pseudonyms

KEY = b"k"


def core(text: str) -> str:
    """Sixteen consonants for the first eight bytes of the HMAC."""
    digest = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()[:16]
    return "".join("bcdfghjkmnpqrtvx"[int(digit, 16)] for digit in digest)


def test_shapes() -> None:
    """Every kind of pseudonym, whole, for one text of that kind."""
    masks = Pseudonyms(KEY)
    assert masks.token("C132864") == core("C132864")
    assert masks.name("Noa") == core("Noa").capitalize()
    assert masks.email(" Alice@Example.COM ") == f"{core('alice@example.com')}@x.invalid"
    number = int(hmac.new(KEY, b"12025550133", hashlib.sha256).hexdigest()[:16], 16) % 10**12
    digits = f"{number:012}"
    assert masks.phone("+1 (202) 555-0133") == f"+999 {digits[:3]} {digits[3:6]} {digits[6:9]} {digits[9:]}"
    assert ipaddress.ip_address(masks.ip("203.0.113.9")) in ipaddress.ip_network("240.0.0.0/4")
    assert ipaddress.ip_address(masks.ip("2001:41d0::1")) in ipaddress.ip_network("2001:db8::/32")
    assert masks.replaced == 6


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("email", "Alice@Example.com", "alice@example.com"),
        ("token", "alice@example.com ", "ALICE@example.com"),
        ("token", "Zoe\u0308", "Zo\u00eb"),
        ("phone", "+1 202-555-0133", "12025550133"),
        ("ip", "2001:41D0:0::1", "2001:41d0::1"),
    ],
)
def test_the_same_in_another_spelling(kind: str, one: str, other: str) -> None:
    """Spellings of one thing have one pseudonym."""
    assert getattr(Pseudonyms(KEY), kind)(one) == getattr(Pseudonyms(KEY), kind)(other)


def test_an_email_address_has_one_pseudonym_in_every_field() -> None:
    """Whatever field it stands in, an address looks like the same address."""
    masks = Pseudonyms(KEY)
    found = {getattr(masks, kind)("alice@example.com") for kind in ("token", "name", "email", "phone", "ip")}
    assert found == {f"{core('alice@example.com')}@x.invalid"}


def test_capitals_tell_ids_apart() -> None:
    """Ids that differ in capitals are two ids."""
    masks = Pseudonyms(KEY)
    assert masks.token("abC") != masks.token("abc")


@pytest.mark.parametrize("text", ["x" * 16, "x" * 17, "two words and more of them", "ü" * 40, "a b", "l" * 5000])
def test_long_texts_keep_their_size(text: str) -> None:
    """A token has as many bytes as the text, and sixteen at least; words stay words."""
    token = Pseudonyms(KEY).token(text)
    assert len(token) == max(16, len(text.encode()))
    assert re.fullmatch(r"[bcdfghjkmnpqrtvx ]+", token)
    assert (" " in token) == (" " in text and len(text.encode()) > 16)
    assert token.startswith(core(text))


@pytest.mark.parametrize("kind", ["token", "name", "email", "phone", "ip"])
def test_nothing_stays_nothing(kind: str) -> None:
    """An empty text tells nothing and stays empty."""
    assert getattr(Pseudonyms(KEY), kind)("") == ""


@pytest.mark.parametrize(
    ("number", "left"),
    [
        (0, 0), (7, 7), (31, 30), (12, 10), (1985, 2000), (-400.99, -400.0), (34.0, 30.0), (0.0123, 0.01),
        (491701234567, 500000000000), (2**64 - 1, 10**19), (-(2**63), -9 * 10**18), (10**15 + 5, 10**15),
    ],
)  # fmt: skip
def test_coarse_numbers(number: int | float, left: int | float) -> None:
    """One significant digit is left, the type stays, and whole numbers still fit into 64 bits."""
    found = Pseudonyms(KEY).coarse(number)
    assert (found, type(found)) == (left, type(number))
