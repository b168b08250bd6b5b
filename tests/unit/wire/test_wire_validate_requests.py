"""Judging requests: every field with its allowed values, and the recommendations of the contract's section 7."""

from __future__ import annotations

from typing import Any

import pytest

from harness.wire.validate import check_request, has_errors

Finding = tuple[str, str, str]
PRODUCT = {"product": {"name": "n", "category": "c", "sku": "s", "price": 1}, "quantity": 1}


def post(**fields: Any) -> list[Finding]:
    """Findings in a getEngagement request with these fields, as (path, rule, severity)."""
    return [tuple(problem[:3]) for problem in check_request("get_engagement", {"appType": "EXTERNAL", **fields})]


def put(sent: bool = False, **fields: Any) -> list[Finding]:
    """Findings in an update with these fields."""
    return [tuple(problem[:3]) for problem in check_request("update", fields, sent=sent)]


def sde(kind: str, **fields: Any) -> list[Finding]:
    """Findings in one engagement attribute; paths begin inside it."""
    head = "engagementAttributes[0]"
    return [
        (path.removeprefix(head).removeprefix("."), rule, severity)
        for path, rule, severity in post(engagementAttributes=[{"type": kind, **fields}])
    ]


@pytest.mark.parametrize("request_", [None, [], "{}", 1, True, object()])
def test_a_request_is_an_object(request_: object) -> None:
    """Anything but an object is one error at the root."""
    for op in ("get_engagement", "update"):
        assert [problem[:3] for problem in check_request(op, request_)] == [("", "type", "error")]


def test_unknown_operation_is_our_bug() -> None:
    """Only the two operations of the contract exist."""
    with pytest.raises(ValueError, match="unknown operation 'report'"):
        check_request("report", {})


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"deviceFamily": "DESKTOP"}, []),
        ({"deviceFamily": "TABLET"}, []),
        ({"deviceFamily": "MOBILE"}, []),
        ({"deviceFamily": "mobile"}, [("appDetails.deviceFamily", "enum", "error")]),
        ({"deviceFamily": "personal_computer"}, [("appDetails.deviceFamily", "enum", "error")]),
        ({"deviceFamily": 1}, [("appDetails.deviceFamily", "type", "error")]),
        *(({"os": system}, []) for system in ("WINDOWS", "MAC_OSX", "LINUX", "IOS", "ANDROID")),
        ({"os": "MacOS"}, [("appDetails.os", "enum", "error")]),
        ({"osName": "IOS"}, [("appDetails.osName", "foreign", "warning")]),
        ({"ipAddress": "192.168.5.2"}, []),
        ({"ipAddress": "2001:db8::1"}, []),
        ({"ipAddress": "::ffff:10.0.0.1"}, []),
        ({"ipAddress": "256.1.1.1"}, [("appDetails.ipAddress", "format", "error")]),
        ({"ipAddress": "fe80::1%eth0"}, [("appDetails.ipAddress", "format", "error")]),
        ({"ipAddress": ""}, [("appDetails.ipAddress", "format", "error")]),
        ({"ipAddress": 3232236802}, [("appDetails.ipAddress", "type", "error")]),
        ({"appVersion": "1.0", "osVersion": "1.2"}, []),
        ({"appVersion": 1.0, "osVersion": None}, [
            ("appDetails.appVersion", "type", "error"), ("appDetails.osVersion", "type", "error"),
        ]),
        ({"platform": "x"}, [("appDetails.platform", "unknown", "warning")]),
    ],
)  # fmt: skip
def test_app_details(fields: dict[str, Any], found: list[Finding]) -> None:
    """Each field of appDetails with its allowed values (contract 1.1; rows 3, 5, 6)."""
    assert post(appDetails=fields) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("EXTERNAL", []),
        ("MSDK", []),
        ("IVR", [("appType", "enum", "error")]),
        ("external", [("appType", "enum", "error")]),
        (None, [("appType", "type", "error")]),
    ],
)
def test_row_4_app_type(value: object, found: list[Finding]) -> None:
    """appType must be EXTERNAL or MSDK; its absence is a warning."""
    assert post(appType=value) == found
    assert [problem[:3] for problem in check_request("get_engagement", {})] == [("appType", "required", "warning")]


@pytest.mark.parametrize(
    "name", ["clientProperties", "entryPoints", "identities", "consumerId", "vid", "sid", "visitorId", "sessionId"]
)
def test_row_2_names_of_other_operations_are_foreign(name: str) -> None:
    """Names of the Monitoring API and ids in the body are a warning in both operations: the client would drop them."""
    assert post(**{name: "x"}) == [(name, "foreign", "warning")]
    assert put(**{name: "x"}) == [(name, "foreign", "warning")]


def test_fields_of_the_other_operation_are_foreign() -> None:
    """pageId and impAttributes belong to an update, the other three to getEngagement."""
    assert post(pageId="1", impAttributes=[]) == [
        ("pageId", "foreign", "warning"),
        ("impAttributes", "foreign", "warning"),
    ]
    assert put(appType="MSDK", appDetails={}, consumerSections=[]) == [
        ("appType", "foreign", "warning"),
        ("appDetails", "foreign", "warning"),
        ("consumerSections", "foreign", "warning"),
    ]


def test_row_7_string_forms_are_errors() -> None:
    """A comma list, a JSON text and a detail text are not the canonical arrays and object."""
    assert post(consumerSections="a,b", engagementAttributes="[]", appDetails="1.0") == [
        ("consumerSections", "type", "error"),
        ("engagementAttributes", "type", "error"),
        ("appDetails", "type", "error"),
    ]
    assert post(consumerSections=["a", 1, None]) == [
        ("consumerSections[1]", "type", "error"),
        ("consumerSections[2]", "type", "error"),
    ]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("4743822558", []),
        (4743822558, []),
        ("any-text", []),
        ("", [("pageId", "format", "error")]),
        (1.5, [("pageId", "type", "error")]),
        (2**64, [("pageId", "range", "error")]),
    ],
)
def test_row_11_ids_may_be_numbers(page: object, found: list[Finding]) -> None:
    """A pageId is text or an integer; on the wire it must be there, in a trace it may be left to the run."""
    assert put(sent=True, pageId=page) == found
    assert put() == []
    assert put(sent=True) == [("pageId", "required", "error")]


ALTERNATES = [
    ("personal", {"personal": {"gender": "FEMALE"}}, {"personal": {"gender": 1}}, "personal.gender"),
    ("personal", {"personal": {"age": {"age": 30.0}}}, {"personal": {"age": {"age": 30}}}, "personal.age.age"),
    ("mrktInfo", {"info": {"channel": "1"}}, {"info": {"channel": 1}}, "info.channel"),
    ("mrktInfo", {"info": {"campaignId": "x"}}, {"info": {"campaignID": "x"}}, "info.campaignID"),
    ("mrktInfo", {"info": {"affiliate": "x"}}, {"info": {"Affiliate": "x"}}, "info.Affiliate"),
    ("purchase", {"cart": {"products": [PRODUCT]}}, {"cart": {"Products": [PRODUCT]}}, "cart.Products"),
    ("prodView", {"products": [PRODUCT]}, {"Products": [PRODUCT]}, "Products"),
    ("ctmrinfo", {"info": {"ctype": "vip"}}, {"ctype": "vip"}, "ctype"),
    ("service", {"service": {"status": 10}}, {"service": {"status": 13}}, "service.status"),
]


@pytest.mark.parametrize(("kind", "canonical", "alternate", "place"), ALTERNATES)
def test_row_19_alternate_forms(kind: str, canonical: dict[str, Any], alternate: dict[str, Any], place: str) -> None:
    """The form of the examples passes silently, the documentation's other form with one warning."""
    assert sde(kind, **canonical) == []
    assert sde(kind, **alternate) == [(place, "alternate", "warning")]


def test_row_19_alternate_forms_are_checked_inside() -> None:
    """An alternate spelling excuses the spelling only, not a wrong value."""
    assert sde("ctmrinfo", balance="x") == [("balance", "alternate", "warning"), ("balance", "type", "error")]
    assert sde("cart", total=1, numItems=1, Products=[{}]) == [
        ("Products", "alternate", "warning"),
        ("Products[0].product", "required", "error"),
    ]
    assert sde("mrktInfo", info={"channel": 5}) == [("info.channel", "type", "error")]
    assert sde("mrktInfo", info={"channel": "5"}) == [("info.channel", "enum", "error")]


def test_row_20_mail_and_phone_are_free() -> None:
    """E-mail addresses and phone numbers have no checked form; the type of phone has."""
    contact = {"email": "test.com", "phone": "call me", "phoneType": "PAGER"}
    assert sde("personal", personal={"contacts": [contact]}) == []
    assert sde("personal", personal={"contacts": [{"phoneType": "pager"}]}) == [
        ("personal.contacts[0].phoneType", "enum", "error")
    ]


def test_row_21_unknown_keys_are_warnings() -> None:
    """A key that nobody documents is a warning wherever it stands, and its value is not looked at."""
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert post(new=deep) == [("new", "unknown", "warning")]
    assert put(new=deep) == [("new", "unknown", "warning")]
    assert sde("lead", lead={"new": deep}, more=1) == [
        ("lead.new", "unknown", "warning"),
        ("more", "unknown", "warning"),
    ]


def test_row_23_one_bad_attribute_voids_the_request() -> None:
    """A single wrong field in the last of many attributes makes the whole request one with errors."""
    good = [{"type": "lead", "lead": {"value": 1}}] * 20
    assert not has_errors(check_request("get_engagement", {"engagementAttributes": good}))
    bad = [*good, {"type": "lead", "lead": {"value": "1"}}]
    assert has_errors(check_request("get_engagement", {"engagementAttributes": bad}))
    assert post(engagementAttributes=bad) == [("engagementAttributes[20].lead.value", "type", "error")]


# Each row: attribute type, where the field stands, a right value, a wrong one and its rule.
FIELDS = [
    *(("cart", name, 1, "1", "type") for name in ("total", "numItems")),
    ("cart", "numItems", 6, 6.5, "type"),
    ("cart", "total", 11.7, float("nan"), "range"),
    ("cart", "total", 11.7, True, "type"),
    ("cart", "currency", "USD", 1, "type"),
    ("cart", "products", [PRODUCT], PRODUCT, "type"),
    ("purchase", "total", 11.7, "x", "type"),
    ("purchase", "currency", "USD", 1, "type"),
    ("purchase", "orderId", "x", 1, "type"),
    ("purchase", "cart.numItems", 6, "6", "type"),
    ("prodView", "currency", "USD", 1, "type"),
    *(
        ("ctmrinfo", f"info.{name}", "x", 1, "type")
        for name in [
            "ctype",
            "cstatus",
            "currency",
            "customerId",
            "socialId",
            "imei",
            "userName",
            "companyBranch",
            "accountName",
            "role",
            "storeZipCode",
            "storeNumber",
        ]
    ),
    ("ctmrinfo", "info.balance", -400.99, "-400.99", "type"),
    ("ctmrinfo", "info.companySize", 500, "500", "type"),
    ("ctmrinfo", "info.loginStatus", 1, True, "type"),
    *(
        ("ctmrinfo", f"info.{date}.{part}", 10, "10", "type")
        for date in ("lastPaymentDate", "registrationDate")
        for part in ("day", "month", "year")
    ),
    ("mrktInfo", "info.affiliate", "x", 1, "type"),
    ("mrktInfo", "info.campaignId", "x", 1, "type"),
    *(("mrktInfo", "info.channel", str(number), "Direct", "enum") for number in range(5)),
    *(("personal", f"personal.{name}", "x", 1, "type") for name in ("firstname", "lastname", "company")),
    *(("personal", f"personal.age.{name}", 10, "10", "type") for name in ("year", "month", "day")),
    *(("personal", "personal.gender", value, "female", "enum") for value in ("MALE", "FEMALE", "OTHER")),
    *(("personal", "personal.language", value, "english", "format") for value in ("en-US", "fr_CA")),
    ("personal", "personal.language", "en-US", "en-US\n", "format"),
    ("personal", "personal.contacts", [], {}, "type"),
    *(("lead", f"lead.{name}", "x", 1, "type") for name in ("topic", "currency", "leadId")),
    ("lead", "lead.value", 22.22, "22", "type"),
    *(("service", f"service.{name}", "x", 1, "type") for name in ("topic", "category", "serviceId")),
    *(("service", "service.status", number, 14, "range") for number in range(11)),
    ("service", "service.status", 0, -1, "range"),
    *(("error", f"error.{name}", "x", 1, "type") for name in ("contextId", "message", "code")),
    ("error", "error.level", 2**63 - 1, "10", "type"),
    ("error", "error.level", 10, 2**64, "range"),
    ("error", "error.resolved", False, "false", "type"),
    ("searchInfo", "keywords", ["a"], "a", "type"),
]


@pytest.mark.parametrize(("kind", "place", "right", "wrong", "rule"), FIELDS)
def test_attribute_field(kind: str, place: str, right: object, wrong: object, rule: str) -> None:
    """Every field of every attribute accepts its values and names the place of a wrong one (contract section 5)."""
    needed = {"total": 1, "numItems": 1} if kind == "cart" else {}
    for value, found in ((right, []), (wrong, [(place, rule, "error")])):
        *above, name = place.split(".")
        fields: dict[str, Any] = {name: value}
        if above == ["cart"]:
            fields["products"] = []
        for parent in reversed(above):
            fields = {parent: fields}
        assert sde(kind, **(needed | fields)) == found


@pytest.mark.parametrize(
    ("kind", "fields", "missing"),
    [
        ("cart", {}, ["total", "numItems"]),
        ("purchase", {"cart": {}}, ["cart.products"]),
        ("prodView", {"products": [{"quantity": 1}]}, ["products[0].product"]),
    ],
)
def test_mandatory_fields(kind: str, fields: dict[str, Any], missing: list[str]) -> None:
    """Only the fields that the contract marks as mandatory are missed."""
    assert sde(kind, **fields) == [(place, "required", "error") for place in missing]


@pytest.mark.parametrize(
    "kind", ["prodView", "ctmrinfo", "mrktInfo", "personal", "lead", "service", "error", "searchInfo"]
)
def test_type_alone_is_enough(kind: str) -> None:
    """All other attributes may be empty."""
    assert sde(kind) == []


def test_viewed_products_know_the_stock() -> None:
    """Stock fields belong to viewed products; in a cart they are unknown."""
    product = {"product": {"statusInStock": "low", "quantityInStock": 7}}
    assert sde("prodView", products=[product]) == []
    assert sde("cart", total=1, numItems=1, products=[product]) == [
        ("products[0].product.statusInStock", "unknown", "warning"),
        ("products[0].product.quantityInStock", "unknown", "warning"),
    ]


@pytest.mark.parametrize(
    ("item", "rule", "place"),
    [
        ({"type": "impDisplay"}, "forbidden", ".type"),
        ({"type": "impNew"}, "forbidden", ".type"),
        ({"type": "section"}, "enum", ".type"),
        ({"type": "Cart"}, "enum", ".type"),
        ({"type": 1}, "type", ".type"),
        ({}, "required", ".type"),
        ("cart", "type", ""),
        (None, "type", ""),
    ],
)
def test_what_is_no_engagement_attribute(item: object, rule: str, place: str) -> None:
    """Impression events, sections, unknown types and non-objects are errors, in POST and in PUT alike."""
    expected = [(f"engagementAttributes[0]{place}", rule, "error")]
    assert post(engagementAttributes=[item]) == expected
    assert put(engagementAttributes=[item]) == expected


OFFER = {"campaign": 1, "engId": "2", "revision": 3}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"type": "impClose", **OFFER}, []),
        ({"type": "impClose"}, []),
        ({"type": "impNew", "any": 1}, [(".type", "unknown", "warning")]),
        ({"type": "cart"}, [(".type", "forbidden", "error")]),
        ({"type": "other"}, [(".type", "enum", "error")]),
        ({"type": "impTimeout", "campaign": "x1"}, [(".campaign", "format", "error")]),
        ({"type": "impTimeout", "engId": 1.5}, [(".engId", "type", "error")]),
        ({"type": "impTimeout", "revision": None}, [(".revision", "type", "error")]),
        ({"type": "impExpanded", "expanded": None, "userInit": True, "actionableItems": [1]}, []),
        ({"type": "impExpanded", "eContext": []}, [(".eContext", "unknown", "warning")]),
        ({"type": "impAccept", "eContext": [{"type": "engagementContext", "id": "1"}]}, []),
        ({"type": "impAccept", "eContext": {}}, [(".eContext", "type", "error")]),
        ({"type": "impDisplay", "eContext": [{"type": "x", "id": 1}]}, [(".eContext[0].type", "enum", "error")]),
        (
            {"type": "impDisplay", "eContext": [{"type": "engagementContext"}]},
            [(".eContext[0].id", "required", "error")],
        ),
    ],
)
def test_impression_events(event: dict[str, Any], found: list[Finding]) -> None:
    """The five events with their fields; newer imp types pass with a warning, attributes do not belong here."""
    assert put(impAttributes=[event]) == [(f"impAttributes[0]{place}", rule, level) for place, rule, level in found]


def test_searched_content_and_mobile_do_not_go_together() -> None:
    """searchInfo from a mobile device is a warning; from others it is fine."""
    attributes = [{"type": "lead"}, {"type": "searchInfo"}]
    assert post(appDetails={"deviceFamily": "MOBILE"}, engagementAttributes=attributes) == [
        ("engagementAttributes[1].type", "source", "warning")
    ]
    assert post(appDetails={"deviceFamily": "TABLET"}, engagementAttributes=attributes) == []


def test_what_json_cannot_hold_is_an_error() -> None:
    """Numbers beyond 64 bits and half characters in unknown places are found before the writer meets them."""
    expected = [("new", "unknown", "warning"), ("", "json", "error")]
    assert post(new=2**70) == expected
    assert post(new="\ud800") == expected


def test_findings_never_repeat_values() -> None:
    """Values may be personal: messages tell place and expectation only; keys are cut."""
    found = check_request("get_engagement", {"appType": "Bob", "appDetails": {"ipAddress": "Bob"}, "Bob" * 100: "Bob"})
    assert [str(problem) for problem in found] == [
        "appType: must be one of EXTERNAL, MSDK (case matters)",
        "appDetails.ipAddress: must be an IPv4 or IPv6 address",
        f"{('Bob' * 22)[:64]}: is not a field of the contract; it is sent as it is",
    ]
