"""Made-up request bodies of a shop's visitors: what a real page fills, with plain inventions.

Names, addresses and numbers come from the ranges that are reserved for examples (example.com, 192.0.2.0/24, 555-01xx),
so nothing here can belong to a person. Everything is drawn from the generator given.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Attribute = dict[str, Any]

_PRODUCTS = (
    ("Trail shoe", "shoes", "SH-1042", 89.9),
    ("Rain jacket", "outdoor", "OU-2210", 129.0),
    ("Water bottle", "outdoor", "OU-0031", 14.5),
    ("Desk lamp", "home", "HO-7781", 39.95),
    ("Notebook 13", "computers", "CO-1300", 899.0),
    ("USB-C hub", "computers", "CO-0412", 34.0),
)
_SECTIONS = (
    ["home"],
    ["shoes", "sale"],
    ["outdoor"],
    ["computers", "accessories"],
    ["support"],
    ["support", "billing"],
)
_SYSTEMS = {
    "desktop": (("WINDOWS", "11"), ("WINDOWS", "10"), ("MAC_OSX", "14.4"), ("LINUX", "6.1")),
    "mobile": (("ANDROID", "14"), ("IOS", "17.4")),
    "tablet": (("IOS", "17.4"), ("ANDROID", "13")),
}
_FIRST_NAMES = ("Alex", "Dana", "Kim", "Noa", "Robin", "Sam")
_WORDS = ("delivery time", "return policy", "rain jacket", "size chart", "gift card")


def app_details(rng: Random, cohort: str) -> dict[str, Any]:
    """The appDetails of one visitor; stays the same for the whole visit."""
    system, version = rng.choice(_SYSTEMS[cohort])
    return {
        "appVersion": rng.choice(("3.0", "3.1")),
        "deviceFamily": cohort.upper(),
        "ipAddress": f"192.0.2.{rng.randrange(1, 255)}",
        "os": system,
        "osVersion": version,
    }


def engagement(rng: Random, details: dict[str, Any], first: bool) -> dict[str, Any]:
    """A getEngagement request: who the visitor is on the first page (mostly), what is on the page on each."""
    kinds: list[Callable[[Random], Attribute]] = []
    if first:
        kinds += [kind for kind, share in _ABOUT_VISITOR if rng.random() < share]
    kinds += [kind for kind, share in _ABOUT_PAGE if rng.random() < share]
    attributes = [kind(rng) for kind in kinds]
    if details["deviceFamily"] == "DESKTOP" and rng.random() < 0.08:
        attributes.append({"type": "searchInfo", "keywords": [rng.choice(_WORDS)]})
    request: dict[str, Any] = {"appDetails": details, "consumerSections": rng.choice(_SECTIONS)}
    if attributes:
        request["engagementAttributes"] = attributes
    request["appType"] = "EXTERNAL"
    return request


def impression(kind: str) -> dict[str, Any]:
    """An update that reports one impression event; its ids are filled in from the reply, at the time."""
    return {"impAttributes": [{"type": kind}]}


def _customer(rng: Random) -> Attribute:
    info = {
        "cstatus": rng.choice(("new", "active", "vip")),
        "ctype": rng.choice(("private", "business")),
        "balance": round(rng.uniform(-200, 900), 2),
        "currency": "USD",
        "customerId": f"C{rng.randrange(10**6):06d}",
        "loginStatus": rng.randrange(2),
        "registrationDate": {
            "day": rng.randrange(1, 29),
            "month": rng.randrange(1, 13),
            "year": rng.randrange(2015, 2025),
        },
    }
    return {"type": "ctmrinfo", "info": info}


def _person(rng: Random) -> Attribute:
    name = rng.choice(_FIRST_NAMES)
    born = rng.randrange(1945, 2007)
    contact = {
        "email": f"{name.lower()}{rng.randrange(1000)}@example.com",
        "phone": f"+1 202 555 01{rng.randrange(100):02d}",
        "phoneType": rng.choice(("HOME", "MOBILE", "WORK")),
        "address": {"country": "US", "region": "DC"},
    }
    personal = {
        "firstname": name,
        "lastname": "Example",
        "age": {"age": float(2025 - born), "year": born, "month": rng.randrange(1, 13), "day": rng.randrange(1, 29)},
        "contacts": [contact],
        "gender": rng.choice(("MALE", "FEMALE", "OTHER")),
        "language": "en-US",
    }
    return {"type": "personal", "personal": personal}


def _campaign(rng: Random) -> Attribute:
    return {
        "type": "mrktInfo",
        "info": {"channel": str(rng.randrange(5)), "affiliate": "newsletter", "campaignId": "spring"},
    }


def _product_line(rng: Random) -> dict[str, Any]:
    name, category, sku, price = rng.choice(_PRODUCTS)
    return {
        "product": {"name": name, "category": category, "sku": sku, "price": price},
        "quantity": rng.randrange(1, 4),
    }


def _view(rng: Random) -> Attribute:
    return {"type": "prodView", "currency": "USD", "products": [_product_line(rng)]}


def _products(rng: Random) -> tuple[list[dict[str, Any]], int, float]:
    lines = [_product_line(rng) for _ in range(rng.randrange(1, 4))]
    total = sum(line["product"]["price"] * line["quantity"] for line in lines)
    return lines, sum(line["quantity"] for line in lines), round(total, 2)


def _cart(rng: Random) -> Attribute:
    lines, items, total = _products(rng)
    return {"type": "cart", "total": total, "currency": "USD", "numItems": items, "products": lines}


def _purchase(rng: Random) -> Attribute:
    lines, items, total = _products(rng)
    cart = {"products": lines, "numItems": items}
    return {
        "type": "purchase",
        "total": total,
        "currency": "USD",
        "orderId": f"O{rng.randrange(10**7):07d}",
        "cart": cart,
    }


def _lead(rng: Random) -> Attribute:
    lead = {
        "topic": "test ride",
        "value": round(rng.uniform(5, 90), 2),
        "currency": "USD",
        "leadId": f"L{rng.randrange(10**5)}",
    }
    return {"type": "lead", "lead": lead}


def _service(rng: Random) -> Attribute:
    service = {
        "topic": rng.choice(_WORDS),
        "status": rng.randrange(11),
        "category": "orders",
        "serviceId": f"S{rng.randrange(10**4)}",
    }
    return {"type": "service", "service": service}


def _error(rng: Random) -> Attribute:
    error = {
        "contextId": "checkout",
        "message": "card expired",
        "code": f"E{rng.randrange(100, 999)}",
        "level": 2,
        "resolved": False,
    }
    return {"type": "error", "error": error}


# What a page reports with which probability; the first page also says what is known of the visitor.
_ABOUT_VISITOR: tuple[tuple[Callable[[Random], Attribute], float], ...] = (
    (_customer, 0.35),
    (_person, 0.2),
    (_campaign, 0.15),
)
_ABOUT_PAGE: tuple[tuple[Callable[[Random], Attribute], float], ...] = (
    (_view, 0.3),
    (_cart, 0.15),
    (_purchase, 0.05),
    (_lead, 0.05),
    (_service, 0.06),
    (_error, 0.04),
)
