"""Traffic models written by hand: `retail`, `bank` and `telco`, with journeys that such sites' visitors make.

A journey is a table of pages: what each carries, how long it is read, and what follows with which share. All ten
engagement attribute types occur in each preset. Names, numbers, shares and prices are inventions that look like the
trade; they were not measured anywhere. Personal values are of the made-up kinds only.
"""

from __future__ import annotations

from harness.trace.traffic.basket import Basket, Product
from harness.trace.traffic.model import TrafficModel
from harness.trace.traffic.pages import Page, Site, common, model_of, support

NAMES = ("retail", "bank", "telco")

_DISPLAY, _ACCEPT, _CLOSE = ("impDisplay",), ("impAccept",), ("impClose",)


def preset(name: str) -> TrafficModel:
    """The model of a preset; raises `KeyError` for a name that is not in `NAMES`."""
    return model_of(name, {"retail": _retail, "bank": _bank, "telco": _telco}[name]())


def _products(*rows: tuple[str, str, str, float]) -> list[Product]:
    return [Product(name=name, category=category, sku=sku, price=price) for name, category, sku, price in rows]


def _offer(back: str) -> dict[str, Page]:
    """What becomes of an offer to chat that is shown: it is taken, closed, or left alone; then on with a page."""
    return {
        "offer": Page((), (), 6, {"accept": 0.2, "close": 0.25, back: 0.35, "end": 0.2}, _DISPLAY),
        "accept": Page((), (), 90, {back: 0.3, "end": 0.7}, _ACCEPT),
        "close": Page((), (), 12, {back: 0.7, "end": 0.3}, _CLOSE),
    }


def _retail() -> Site:
    pages = {
        "home": Page(("home",), (), 12, {"category": 0.4, "search": 0.2, "product": 0.15, "login": 0.05, "end": 0.2}),
        "campaign": Page(("landing", "sale"), ("mrktInfo",), 15, {"product": 0.4, "category": 0.25, "end": 0.35}),
        "category": Page(("shop", "category"), (), 20, {"product": 0.6, "category": 0.15, "search": 0.05, "end": 0.2}),
        "search": Page(("shop", "search"), ("searchInfo",), 14, {"product": 0.6, "search": 0.15, "end": 0.25}),
        "product": Page(
            ("shop", "product"),
            ("prodView",),
            35,
            {"product": 0.25, "category": 0.15, "cart": 0.2, "offer": 0.08, "help": 0.04, "end": 0.28},
        ),
        "cart": Page(
            ("shop", "cart"), ("cart",), 25, {"product": 0.25, "checkout": 0.4, "login": 0.1, "offer": 0.05, "end": 0.2}
        ),
        "login": Page(
            ("account", "login"), ("ctmrinfo",), 10, {"checkout": 0.3, "orders": 0.3, "home": 0.2, "end": 0.2}
        ),
        "checkout": Page(
            ("shop", "checkout"), ("personal", "cart"), 60, {"bought": 0.55, "failed": 0.12, "offer": 0.08, "end": 0.25}
        ),
        "failed": Page(
            ("shop", "checkout"), ("error", "cart"), 20, {"bought": 0.4, "help": 0.2, "offer": 0.15, "end": 0.25}
        ),
        "bought": Page(("shop", "thanks"), ("purchase", "ctmrinfo"), 30, {"newsletter": 0.1, "home": 0.1, "end": 0.8}),
        "newsletter": Page(("newsletter",), ("lead",), 20, {"home": 0.2, "end": 0.8}),
        "orders": Page(
            ("account", "orders"), ("ctmrinfo", "service"), 30, {"help": 0.3, "offer": 0.1, "home": 0.1, "end": 0.5}
        ),
        "help": Page(("support",), ("service",), 40, {"offer": 0.3, "product": 0.15, "end": 0.55}),
        **_offer("product"),
    }
    products = _products(
        ("Trail shoe", "shoes", "SH-1042", 89.90), ("City shoe", "shoes", "SH-1107", 119.00),
        ("Rain jacket", "outdoor", "OU-2210", 129.00), ("Fleece", "outdoor", "OU-2304", 59.95),
        ("Water bottle", "outdoor", "OU-0031", 14.50), ("Tent for two", "outdoor", "OU-5520", 249.00),
        ("Desk lamp", "home", "HO-7781", 39.95), ("Wool blanket", "home", "HO-7012", 79.00),
        ("Coffee maker", "kitchen", "KI-3301", 64.90), ("Chef's knife", "kitchen", "KI-3412", 49.00),
        ("Notebook 13", "computers", "CO-1300", 899.00), ("USB-C hub", "computers", "CO-0412", 34.00),
        ("Headphones", "audio", "AU-0815", 149.00), ("Speaker", "audio", "AU-0904", 99.00),
    )  # fmt: skip
    return Site(
        start={"home": 0.4, "campaign": 0.2, "product": 0.25, "category": 0.1, "help": 0.05},
        pages=pages,
        basket=Basket(currency="EUR", products=products),
        cohorts={"desktop": 0.4, "mobile": 0.52, "tablet": 0.08},
        returning=0.18,
        hourly=(3, 2, 1, 1, 1, 2, 4, 6, 8, 9, 10, 10, 10, 9, 9, 9, 9, 10, 12, 14, 15, 14, 10, 6),
        mean_hz=40.0,
        cv=1.3,
        attributes=common("EUR", ("de-DE", "en-GB", "fr-FR"), "DE")
        | support(
            "EUR",
            topics=("delivery", "return", "refund", "size", "voucher"),
            categories=("orders", "products", "account"),
            leads=("newsletter", "back in stock"),
            words=("rain jacket", "shoes", "gift card", "delivery time", "size chart"),
        ),
    )


def _bank() -> Site:
    pages = {
        "home": Page(("home",), (), 10, {"login": 0.5, "rates": 0.2, "branch": 0.1, "end": 0.2}),
        "campaign": Page(("landing",), ("mrktInfo",), 18, {"rates": 0.5, "end": 0.5}),
        "login": Page(("login",), ("ctmrinfo",), 15, {"accounts": 0.8, "locked": 0.08, "end": 0.12}),
        "locked": Page(("login", "help"), ("error",), 30, {"login": 0.4, "case": 0.2, "offer": 0.2, "end": 0.2}),
        "accounts": Page(
            ("banking", "accounts"), ("ctmrinfo",), 25, {"transfer": 0.35, "cards": 0.15, "inbox": 0.1, "end": 0.4}
        ),
        "transfer": Page(
            ("banking", "transfer"), ("ctmrinfo",), 60, {"refused": 0.07, "accounts": 0.5, "offer": 0.03, "end": 0.4}
        ),
        "refused": Page(
            ("banking", "transfer"), ("error", "ctmrinfo"), 20, {"transfer": 0.5, "offer": 0.2, "end": 0.3}
        ),
        "cards": Page(("banking", "cards"), ("ctmrinfo", "service"), 35, {"case": 0.2, "accounts": 0.3, "end": 0.5}),
        "inbox": Page(("banking", "inbox"), ("ctmrinfo",), 40, {"accounts": 0.4, "end": 0.6}),
        "case": Page(("support",), ("service", "ctmrinfo"), 50, {"offer": 0.35, "home": 0.1, "end": 0.55}),
        "branch": Page(("branches",), ("searchInfo",), 25, {"home": 0.2, "end": 0.8}),
        "rates": Page(
            ("products", "rates"), ("prodView",), 45, {"rates": 0.3, "quote": 0.25, "offer": 0.1, "end": 0.35}
        ),
        "quote": Page(("products", "quote"), ("cart",), 70, {"apply": 0.35, "rates": 0.2, "offer": 0.1, "end": 0.35}),
        "apply": Page(("products", "apply"), ("lead", "personal"), 120, {"signed": 0.4, "offer": 0.15, "end": 0.45}),
        "signed": Page(("products", "thanks"), ("purchase", "ctmrinfo"), 30, {"home": 0.2, "end": 0.8}),
        **_offer("rates"),
    }
    products = _products(
        ("Current account", "accounts", "AC-01", 0.00), ("Premium account", "accounts", "AC-02", 12.00),
        ("Savings plan", "savings", "SV-10", 50.00), ("Fixed deposit", "savings", "SV-20", 5000.00),
        ("Credit card", "cards", "CC-01", 39.00), ("Gold card", "cards", "CC-02", 89.00),
        ("Personal loan", "loans", "LO-10", 10000.00), ("Car loan", "loans", "LO-20", 24000.00),
        ("Mortgage", "loans", "LO-30", 280000.00), ("Travel insurance", "insurance", "IN-01", 24.90),
    )  # fmt: skip
    return Site(
        start={"home": 0.55, "login": 0.3, "campaign": 0.1, "rates": 0.05},
        pages=pages,
        basket=Basket(currency="USD", products=products, order_prefix="A"),
        cohorts={"desktop": 0.48, "mobile": 0.48, "tablet": 0.04},
        returning=0.35,
        hourly=(2, 1, 1, 1, 1, 3, 7, 10, 13, 14, 13, 12, 13, 12, 11, 11, 11, 12, 12, 11, 10, 8, 6, 4),
        mean_hz=25.0,
        cv=1.15,
        attributes=common("USD", ("en-US", "es-US"), "US")
        | support(
            "USD",
            topics=("card blocked", "transfer", "password", "statement", "fees"),
            categories=("cards", "payments", "access"),
            leads=("mortgage", "personal loan", "account opening", "call back"),
            words=("branch", "atm", "opening hours", "routing number"),
        ),
    )


def _telco() -> Site:
    pages = {
        "home": Page(("home",), (), 10, {"plans": 0.3, "login": 0.3, "outage": 0.08, "search": 0.1, "end": 0.22}),
        "campaign": Page(("landing", "plans"), ("mrktInfo",), 20, {"plans": 0.5, "coverage": 0.1, "end": 0.4}),
        "search": Page(("search",), ("searchInfo",), 12, {"plans": 0.3, "help": 0.4, "end": 0.3}),
        "plans": Page(
            ("plans",), ("prodView",), 40, {"plans": 0.3, "coverage": 0.15, "order": 0.2, "offer": 0.08, "end": 0.27}
        ),
        "coverage": Page(("plans", "coverage"), ("lead",), 35, {"plans": 0.5, "offer": 0.1, "end": 0.4}),
        "order": Page(("shop", "cart"), ("cart",), 45, {"check": 0.45, "plans": 0.2, "offer": 0.1, "end": 0.25}),
        "check": Page(
            ("shop", "checkout"), ("cart", "personal"), 90, {"ordered": 0.5, "refused": 0.15, "offer": 0.1, "end": 0.25}
        ),
        "refused": Page(("shop", "checkout"), ("error",), 25, {"check": 0.4, "offer": 0.3, "end": 0.3}),
        "ordered": Page(("shop", "thanks"), ("purchase", "ctmrinfo"), 30, {"home": 0.1, "end": 0.9}),
        "login": Page(("account", "login"), ("ctmrinfo",), 12, {"usage": 0.5, "bill": 0.35, "end": 0.15}),
        "usage": Page(("account", "usage"), ("ctmrinfo",), 20, {"bill": 0.2, "plans": 0.15, "help": 0.1, "end": 0.55}),
        "bill": Page(
            ("account", "bill"), ("ctmrinfo", "service"), 40, {"help": 0.25, "offer": 0.15, "usage": 0.1, "end": 0.5}
        ),
        "outage": Page(("support", "outage"), ("service", "error"), 30, {"outage": 0.2, "offer": 0.25, "end": 0.55}),
        "help": Page(("support",), ("service",), 45, {"help": 0.2, "offer": 0.3, "home": 0.05, "end": 0.45}),
        **_offer("plans"),
    }
    products = _products(
        ("Mobile S", "mobile", "MO-S", 9.99), ("Mobile M", "mobile", "MO-M", 19.99),
        ("Mobile L", "mobile", "MO-L", 34.99),
        ("Data only", "mobile", "MO-D", 14.99), ("Fibre 100", "internet", "FI-100", 34.95),
        ("Fibre 250", "internet", "FI-250", 44.95), ("Fibre 1000", "internet", "FI-1000", 69.95),
        ("TV basic", "tv", "TV-1", 10.00), ("TV sports", "tv", "TV-2", 25.00),
        ("Phone X", "devices", "DV-10", 799.00), ("Phone lite", "devices", "DV-11", 249.00),
        ("Router", "devices", "DV-30", 129.00),
    )  # fmt: skip
    return Site(
        start={"home": 0.45, "login": 0.2, "campaign": 0.12, "plans": 0.13, "help": 0.06, "outage": 0.04},
        pages=pages,
        basket=Basket(currency="EUR", products=products, order_prefix="T"),
        cohorts={"desktop": 0.3, "mobile": 0.64, "tablet": 0.06},
        returning=0.25,
        hourly=(3, 2, 1, 1, 1, 2, 4, 7, 10, 11, 11, 11, 12, 11, 11, 11, 12, 13, 13, 12, 11, 10, 8, 5),
        mean_hz=30.0,
        cv=1.6,
        attributes=common("EUR", ("en-GB", "nl-NL"), "NL")
        | support(
            "EUR",
            topics=("bill", "no signal", "router", "sim card", "contract end"),
            categories=("billing", "network", "contract"),
            leads=("fibre at my address", "call back", "upgrade"),
            words=("sim", "roaming", "router reset", "cancel contract"),
        ),
    )
