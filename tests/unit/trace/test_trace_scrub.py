"""The walk by schema and table: what stays, what is masked, what goes; and the policy that changes the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.trace.privacy.leaks import Collector, KeptTexts
from harness.trace.privacy.policy import Policy, read_policy
from harness.trace.privacy.scrub import Scrubber


class Marks:
    """Names the mask instead of masking."""

    def __init__(self) -> None:
        self.dropped: list[Any] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda value: f"<{kind}>"

    def coarse(self, number: float) -> float:
        return -1

    def drop(self, value: object) -> None:
        self.dropped.append(value)


def scrub(request: Any, op: str = "get_engagement", policy: Policy | None = None) -> tuple[Any, list[Any]]:
    marks = Marks()
    return Scrubber((policy or Policy()).fields).scrub(op, request, marks), marks.dropped


def attributes(*items: Any) -> tuple[Any, list[Any]]:
    left, dropped = scrub({"engagementAttributes": list(items)})
    return left["engagementAttributes"], dropped


def test_a_whole_request() -> None:
    """Closed sets, versions, currencies and plain amounts stay; everything that could say who is masked by its kind."""
    details = {"appVersion": "3.0", "deviceFamily": "MOBILE", "os": "IOS", "osVersion": "17.1.2"}
    cart = {"type": "cart", "total": 11.7, "currency": "USD", "numItems": 6}
    contact = {"phoneType": "HOME"}
    assert scrub(
        {
            "appType": "EXTERNAL",
            "appDetails": {**details, "ipAddress": "10.0.0.1"},
            "consumerSections": ["Support", 7],
            "engagementAttributes": [
                {**cart, "Products": [{"product": {"name": "n", "price": 7.8}, "quantity": 1}]},
                {"type": "ctmrinfo", "info": {"customerId": "138766AC", "balance": -400.99, "loginStatus": 1}},
                {"type": "mrktInfo", "info": {"channel": "1", "campaignID": "US coupon"}},
                {"type": "ctmrinfo", "customerId": "138766AC"},
                {
                    "type": "personal",
                    "personal": {
                        "firstname": "A",
                        "age": {"age": 30.0, "year": 1985},
                        "gender": "FEMALE",
                        "language": "en-US",
                        "contacts": [{"email": "a@b.org", "phone": "1", **contact, "address": {"country": "US"}}],
                    },
                },
                {"type": "error", "error": {"message": "m", "code": "er", "level": 10, "resolved": False}},
                {"type": "searchInfo", "keywords": ["k"]},
            ],
        }
    ) == (
        {
            "appType": "EXTERNAL",
            "appDetails": {**details, "ipAddress": "<ip>"},
            "consumerSections": ["<token>", -1],
            "engagementAttributes": [
                {**cart, "Products": [{"product": {"name": "<token>", "price": 7.8}, "quantity": 1}]},
                {"type": "ctmrinfo", "info": {"customerId": "<token>", "balance": -1, "loginStatus": 1}},
                {"type": "mrktInfo", "info": {"channel": "1", "campaignID": "<token>"}},
                {"type": "ctmrinfo", "customerId": "<token>"},
                {
                    "type": "personal",
                    "personal": {
                        "firstname": "<name>",
                        "age": {"age": -1, "year": -1},
                        "language": "en-US",
                        "contacts": [
                            {"email": "<email>", "phone": "<phone>", **contact, "address": {"country": "<token>"}}
                        ],
                    },
                },
                {"type": "error", "error": {"message": "<token>", "code": "<token>", "level": 10, "resolved": False}},
                {"type": "searchInfo", "keywords": ["<token>"]},
            ],
        },
        ["FEMALE"],
    )


def test_updates_lose_the_ids_of_the_recorded_service() -> None:
    """Events keep their type and flags; page, campaign and context are left to the replay."""
    event = {
        "type": "impAccept",
        "campaign": 1,
        "engId": 2,
        "revision": 3,
        "eContext": [{"type": "engagementContext", "id": "x"}],
    }
    expanded = {"type": "impExpanded", "expanded": True, "userInit": None, "actionableItems": ["a"]}
    assert scrub({"pageId": "9", "impAttributes": [event, expanded]}, "update")[0] == {
        "impAttributes": [{"type": "impAccept"}, {"type": "impExpanded", "expanded": True, "userInit": None}]
    }


def personal(value: Any) -> dict[str, Any]:
    return {"type": "personal", "personal": value}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Without the form that the treatment expects.
        ({"type": "cart", "total": 491701234567}, {"type": "cart", "total": -1}),
        ({"type": "cart", "total": 11.777}, {"type": "cart", "total": -1}),
        ({"type": "cart", "total": "eleven"}, {"type": "cart", "total": "<token>"}),
        ({"type": "cart", "numItems": 123456}, {"type": "cart", "numItems": -1}),
        ({"type": "cart", "numItems": -1.0}, {"type": "cart", "numItems": -1}),
        ({"type": "cart", "currency": "Bob"}, {"type": "cart", "currency": "<token>"}),
        (personal({"language": "Alice"}), personal({"language": "<token>"})),
        ({"type": "service", "service": {"status": 138766}}, {"type": "service", "service": {"status": -1}}),
        (personal({"lastname": 5551234}), personal({"lastname": -1})),
        (personal({"lastname": {"a": "b"}}), personal({"lastname": {}})),
        (personal(["Alice"]), personal([])),
        (personal(None), personal(None)),
        ({"type": "searchInfo", "keywords": "Alice"}, {"type": "searchInfo", "keywords": "<token>"}),
        # Not in the contract.
        ({"type": "alice", "name": "Alice"}, {"type": "<token>"}),
        ({"type": ["alice"]}, {"type": []}),
        ({"name": "Alice"}, {}),
        ("Alice", "<token>"),
        ({"type": "lead", "lead": {"alice@example.com": 1}}, {"type": "lead", "lead": {}}),
    ],
)
def test_what_does_not_fit_keeps_its_type_and_nothing_else(before: Any, after: Any) -> None:
    """A value of a wrong form or type is masked or emptied; what nobody knows is left out."""
    assert attributes(before)[0] == [after]


@pytest.mark.parametrize(
    "version", ["22.07.1985", "192.168.5.2", "202.555.0133", "123456", "1.2.3.4", "415.555.0", "١٢", "3.0 (Alice)"]
)
def test_what_only_looks_like_a_version_goes(version: str) -> None:
    """Dates, addresses and numbers do not pass as versions."""
    assert scrub({"appDetails": {"osVersion": version}})[0] == {"appDetails": {"osVersion": "<token>"}}


def test_collector_remembers_all_that_goes() -> None:
    """The scan's stand-in for pseudonyms takes texts, long numbers and keys, however deep, without recursion."""
    deep: Any = "at the bottom"
    for _ in range(5000):
        deep = [{"k": deep}]
    collector = Collector()
    request = {
        "appDetails": {"ipAddress": "10.0.0.1"},
        "mine": {"who": "Alice", "n": 4917012, "x": deep, "short": 5, "f": True},
    }
    Scrubber().scrub("get_engagement", request, collector)
    assert collector.values == {"10.0.0.1", "mine", "who", "Alice", "n", "x", "k", "at the bottom", "short", "f"}
    assert collector.numbers == {"4917012"}


def kept(*lines: bytes, public: tuple[str, ...] = ()) -> KeptTexts:
    texts = KeptTexts(public)
    for line in lines:
        texts.note(line)
    return texts


def test_public_words_and_pseudonyms_are_not_kept() -> None:
    """Words of the contract, versions, currencies, times and pseudonyms of every shape are no kept texts."""
    line = (
        b'{"visit":"jtkhhgmqbngrgrbd","at":1234567.25,"cohort":"mobile","steps":[{"think":7654321,"request":{"osVersion":'
        b'"14.4","currency":"USD","language":"de-AT","firstname":"Vvrbdbmbjmjhdcpb","email":"vbfmknrbgcgmgmxd@x.invalid",'
        b'"phone":"+999 081 934 352 124","ipAddress":"240.230.15.85","year":2000,"balance":500000,"total":99999.99,'
        b'"message":"vbfmknrbgcgmgmxd vbfmknrb","x":"2001:db8:1:2::3","created":"2015-05-17T10:05:13Z"}}]}'
    )
    assert len(kept(line)) == 1
    assert kept(line).search().find("x") is None
    assert len(kept(line, public=("X",))) == 0


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        (b'"Gift for ALICE B."', "Alice", True),
        (b'"Malice"', "Alice", True),
        (b'"alice%40example.com"', "alice@example.com", True),
        (b'"a\\"l\\u0069ce\\n"', 'a"lice', True),
        (b'"call 1-202-555-0133 now"', "+1 (202) 555 0133", True),
        (b'"call 12025550133"', "+1 (202) 555 0133", True),
        (b"4917012345", "4917012345", True),
        (b'"for Bob"', "Bob", True),
        (b'"Bobsled"', "Bob", False),
        (b'"room 12"', "12", False),
        (b'"firstname"', "firstname", False),
        (b'"Alic"', "Alice", False),
    ],
)
def test_search(text: bytes, value: str, found: bool) -> None:
    """Values are found inside texts, in other capitals, escapes and groupings; short ones only as words."""
    search = kept(b"{}", b'{"mine":' + text + b"}").search()
    assert search.find(value) == (2 if found else None)


def policy_file(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_policy(tmp_path: Path) -> None:
    """A policy keeps, adds and changes fields, of requests and of lines."""
    policy = read_policy(
        policy_file(
            tmp_path,
            'public = ["Stone"]\n[fields]\nconsumerSections = "keep"\ncohort = "keep"\naccount = "drop"\n'
            '"ctmrinfo.info.nickname" = "name"\n"cart.total" = "coarse"\n"personal.personal.gender" = "keep"\n',
        )
    )
    assert policy.public == ("Stone",)
    assert policy.line == {"visit": "token", "visitor": "token", "account": "drop", "cohort": "keep"}
    assert policy.keeps_texts
    request = {
        "consumerSections": ["Support", {"a": 1}],
        "engagementAttributes": [
            {"type": "ctmrinfo", "info": {"nickname": "Al", "nick": "Al"}, "nickname": "Al"},
            {"type": "cart", "total": 5},
            {"type": "personal", "personal": {"gender": "MALE"}},
        ],
    }
    assert scrub(request, policy=policy)[0] == {
        "consumerSections": ["Support", {}],
        "engagementAttributes": [
            {"type": "ctmrinfo", "info": {"nickname": "<name>"}, "nickname": "<name>"},
            {"type": "cart", "total": -1},
            {"type": "personal", "personal": {"gender": "MALE"}},
        ],
    }


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("fields = 3", ["fields must be a table: [fields]"]),
        ("oops", ["is not TOML: Expected '=' after a key in a key/value pair (at end of document)"]),
        (
            'public = "b"\nkeep = ["a"]',
            ["keep is unknown: a policy has public and [fields]", "public must be an array of texts"],
        ),
        (
            '[fields]\ncart.total = "keep"\n"cart.products" = "keep"\n"no.where" = "token"\nvisitor = "drop"\nos = 3',
            [
                "fields.cart is a table: write a path with dots in quotes",
                "fields.visitor is no treatment: one of token, keep",
                "fields.os is no treatment: one of keep, closed, version, currency, amount, count, coarse, name, "
                "email, phone, ip, token, drop",
                "fields.cart.products is no field, nor a new one inside a record that the contract knows",
                "fields.no.where is no field, nor a new one inside a record that the contract knows",
            ],
        ),
    ],
)
def test_wrong_policies(tmp_path: Path, text: str, problems: list[str]) -> None:
    """Every problem of a policy is told at once, each with its key."""
    path = policy_file(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    first = str(caught.value).removeprefix(f"--policy {path}").removeprefix(":").strip()
    assert [first, *caught.value.problems] == problems
