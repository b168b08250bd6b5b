"""The leak scan against people who did not read it: disguises that must be found, and texts that must pass."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LeakError
from harness.trace.lines import BadLines
from harness.trace.privacy.anonymize import anonymize_trace
from harness.trace.privacy.policy import Policy

KEEP = {"service.service.topic": "keep", "cart.products.product.price": "keep"}


def passes(folder: Path, gone: dict[str, Any], kept: dict[str, Any], public: tuple[str, ...] = ()) -> bool:
    """Whether a trace passes in which one attribute had to go and another stays by a policy."""
    step = {"op": "get_engagement", "identity": "fresh", "request": {"engagementAttributes": [gone, kept]}}
    visit = {"visit": "v", "visitor": "p", "at": 1.125, "steps": [step]}
    source, output = folder / "in", folder / "out"
    source.write_text('{"harness_trace":1}\n' + json.dumps(visit) + "\n")
    try:
        anonymize_trace(source, output, BadLines(), b"k" * 32, Policy(fields=KEEP, public=public))  # type: ignore[arg-type]
    except LeakError as error:
        assert str(error).startswith(f"{source}:2: a ") and " stands in line 2 of the output" in str(error)
        assert not output.exists()
        return False
    return True


def named(name: str) -> dict[str, Any]:
    return {"type": "personal", "personal": {"firstname": name}}


def topic(text: str) -> dict[str, Any]:
    return {"type": "service", "service": {"topic": text}}


def customer(number: float) -> dict[str, Any]:
    return {"type": "ctmrinfo", "info": {"balance": number}}


def price(number: float) -> dict[str, Any]:
    return {"type": "cart", "products": [{"product": {"price": number}}]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Thomas", "xTHOMASx"),
        ("+14155550134", "call tel=%2B1%20415%20555%200134 now"),
        ("415 555 013", "415.555.013"),
        ("555-013", "call 555013"),
        ("4155550134", "Nr. ٤١٥٥٥٥٠١٣٤"),
        ("王伟", "客户王伟咨询"),
        ("김철수", "김철수가 전화"),
        ("Müller", "Frau Mu\u0308ller ruft an"),
        ("Müller", "name=M%FCller"),
        ("Müller", "name=M%C3%BCller"),
        ("Ann Smith", "q=Ann+Smith"),
        ("Ann Smith", "q=Ann%2BSmith"),
        ("Ann Smith", "visit of Ann  Smith, VIP"),
        ("Ann Smith", "visit of Ann\u00a0Smith"),
        ("Ann  Smith", "Ann\nSmith"),
        ("ann@example.com", "u=ann%2540example.com"),
        ("ann@example.com", "u=ann%252540example.com"),
        ("ann@example.com", "ann\\u0040example.com"),
        ("ann@example.com", "ann%u0040example.com"),
        ("ann@example.com", "ann&#64;example.com"),
        ("ann@example.com", "ann&#x40;example.com"),
        ("ann%40example.com", "ann@example.com"),
        ("O'Brien-Smith", "name O&#39;Brien-Smith"),
        ("Smith & Sons", "of Smith &amp; Sons"),
        ("Smith & Sons", "of Smith &amp;amp; Sons"),
        ("ann.smith@example.com", b64encode(b"ann.smith@example.com").decode()),
        ("ann.smith@example.com", "u=" + urlsafe_b64encode(b"{ann.smith@example.com}~~~???").decode().rstrip("=")),
        ("ann.smith@example.com", "/v/" + b64encode(b"ann.smith@example.com").decode() + "/x"),
        ("ann.smith@example.com", b64encode(b64encode(b"ann.smith@example.com")).decode()),
        ("ann.smith@example.com", b64encode(b"u=ann.smith%40example.com").decode()),
        ("Thomas", "Tho\u200bmas"),
        ("Thomas", "Tho\u00admas"),
        ("Thomas", "\uff34\uff48\uff4f\uff4d\uff41\uff53"),
        ("Strauß", "Herr STRAUSS"),
        ("İbrahim", "xIBRAHIMx"),
        ("Tom", "TOM"),
        ("Lee", "Lee_VIP"),
        ("1234", "pin 1234"),
        ("C-4917-012", "c4917012"),
    ],
)
def test_disguises_are_found(tmp_path: Path, value: str, text: str) -> None:
    """A value that had to go ends the command, whatever was done to it on its way into a text that a policy keeps."""
    assert not passes(tmp_path, named(value), topic(text))


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        (customer(48213), topic("customer 48213 called")),
        (customer(48213.0), topic("customer 48,213 called")),
        (customer(37.774929), price(37.774929)),
        (customer(37.774), price(37.7740)),
        (customer(37.774929), topic("lat=37,774929")),
        (customer(-14155550134), topic("+1 415 555 0134")),
        (named("+1 415 555 0134"), price(14155550134)),
        (named("123456789"), price(123456.789)),
        (customer(123456789012), price(1.23456789012e11)),
    ],
)
def test_numbers_are_found(tmp_path: Path, gone: dict[str, Any], kept: dict[str, Any]) -> None:
    """Numbers are compared as numbers, as texts and in texts, however they are written."""
    assert not passes(tmp_path, gone, kept)


@pytest.mark.parametrize(
    ("gone", "kept"),
    [
        (named("Tom"), topic("Tomato, atom, custom")),
        (named("Lee"), topic("sleeve")),
        (named("王"), topic("国王")),
        (named("12"), topic("room 12, page 123")),
        (named("123"), topic("customer 123")),
        (named("Thomas"), topic("Tho mas, Thom as")),
        (named("ann@example.com"), topic("bob%40example.com anna example.com")),
        (named("+14155550134"), topic("415 555, 0135 and 14155 items")),
        (named("Müller"), topic("Mullet M%FCll")),
        (named("personal"), topic("personal")),
        (named("Alice"), topic(b64encode(b"nobody in particular").decode())),
        (named("Alice"), topic("100 % of &nothing; \\u12 %zz %u12 a+b")),
        (customer(48213), topic("order 148213, 482130 or 4821.3")),
        (customer(4821), topic("item 4821")),
        (customer(500000), topic("500000 visitors")),
        (customer(12345.67), price(12345.67)),
        (named("Ann"), {"type": "cart", "currency": "EUR"}),
        (named("12.1"), topic("v 12")),
    ],
)
def test_harmless_texts_pass(tmp_path: Path, gone: dict[str, Any], kept: dict[str, Any]) -> None:
    """What only looks a little like a value that had to go is no leak; amounts pass by their form."""
    assert passes(tmp_path, gone, kept)


@pytest.mark.parametrize(
    ("value", "request_part"),
    [
        ("Ann", {"type": "cart", "currency": "ANN"}),
        ("ANN", {"type": "service", "service": {"topic": "ANN"}}),
        ("415 55", {"type": "service", "service": {"topic": "415.55"}}),
    ],
)
def test_a_public_form_excuses_no_value(tmp_path: Path, value: str, request_part: dict[str, Any]) -> None:
    """What looks like a currency or a version is a leak where it equals a value that had to go, unless it is public."""
    assert not passes(tmp_path, named(value), request_part)
    assert passes(tmp_path, named(value), request_part, public=(value,))
