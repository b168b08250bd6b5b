"""The ten engagement attributes (SDEs) as data tables (contract section 5).

An attribute is an object `{"type": NAME, …}`. Impression events (`imp…`) look alike but are no engagement attributes: a
request that carries one among them is refused as a whole.
"""

from __future__ import annotations

import re
from typing import Final

from harness.wire.schema import ByType, Either, Flag, Many, Node, Number, Record, Rule, Severity, Text

TEXT: Final = Text()
INTEGER: Final = Number("integer")
AMOUNT: Final = Number()

PHONE_TYPES: Final = ("HOME", "MOBILE", "WORK", "FAX", "MAIN", "HOME_FAX", "WORK_FAX", "PAGER", "OTHER")
GENDERS: Final = ("MALE", "FEMALE", "OTHER")
CHANNELS: Final = {"0": "Direct", "1": "Search", "2": "Social", "3": "Email", "4": "Referral"}
SERVICE_STATUSES: Final = (
    "Complete",
    "In Progress",
    "Approved",
    "Cancelled",
    "Not Approved",
    "Reviewed",
    "Missing Details",
    "Closed",
    "Removed",
    "Assigned",
    "Waiting",
    "Waiting for Response",
    "Pending",
    "Resolved",
)

_PRODUCT: dict[str, Node] = {"name": TEXT, "category": TEXT, "sku": TEXT, "price": AMOUNT}
_VIEWED_PRODUCT: dict[str, Node] = {**_PRODUCT, "statusInStock": TEXT, "quantityInStock": INTEGER}


def _products(product: dict[str, Node]) -> Many:
    return Many(Record({"product": Record(product), "quantity": INTEGER}, required=("product",)))


_PRODUCTS = _products(_PRODUCT)
_PRODUCTS_ALIAS = {"Products": "products"}
_DATE = Record({"day": INTEGER, "month": INTEGER, "year": INTEGER})

_CUSTOMER = Record(
    {
        "ctype": TEXT,
        "cstatus": TEXT,
        "balance": AMOUNT,
        "currency": TEXT,
        "customerId": TEXT,
        "socialId": TEXT,
        "imei": TEXT,
        "userName": TEXT,
        "companySize": INTEGER,
        "companyBranch": TEXT,
        "accountName": TEXT,
        "role": TEXT,
        "lastPaymentDate": _DATE,
        "registrationDate": _DATE,
        "loginStatus": INTEGER,
        "storeZipCode": TEXT,
        "storeNumber": TEXT,
    }
)

_MARKETING = Record(
    {
        "channel": Either(Text(tuple(CHANNELS)), Number("integer", 0, 4), 'is usually written as text: "1"'),
        "affiliate": TEXT,
        "campaignId": TEXT,
    },
    aliases={"campaignID": "campaignId", "Affiliate": "affiliate"},
)

_CONTACT = Record(
    {
        "email": TEXT,
        "phone": TEXT,
        "phoneType": Text(PHONE_TYPES),
        "address": Record({"country": TEXT, "region": TEXT}),
    }
)

_PERSON = Record(
    {
        "firstname": TEXT,
        "lastname": TEXT,
        "age": Record(
            {
                "age": Either(Number("float"), INTEGER, "is usually written with a fraction: 30.0"),
                "year": INTEGER,
                "month": INTEGER,
                "day": INTEGER,
            }
        ),
        "contacts": Many(_CONTACT),
        "gender": Either(Text(GENDERS), INTEGER, f"is usually written as text: {', '.join(GENDERS)}"),
        "company": TEXT,
        "language": Text(pattern=re.compile(r"[a-z]{2}[-_][A-Z]{2}"), form="en-US or en_US"),
    }
)

_SERVICE_STATUS = Either(
    Number("integer", 0, 10),
    Number("integer", 0, len(SERVICE_STATUSES) - 1),
    "11 to 13 are known to the Engagement Attributes API only",
)


def _attribute(
    fields: dict[str, Node],
    required: tuple[str, ...] = (),
    aliases: dict[str, str] | None = None,
    flat: str = "",
) -> Record:
    return Record({"type": TEXT, **fields}, required=required, aliases=aliases or {}, flat=flat)


ATTRIBUTE_TYPES: Final[dict[str, Record]] = {
    "cart": _attribute(
        {"total": AMOUNT, "numItems": INTEGER, "currency": TEXT, "products": _PRODUCTS},
        required=("total", "numItems"),
        aliases=_PRODUCTS_ALIAS,
    ),
    "purchase": _attribute(
        {
            "total": AMOUNT,
            "currency": TEXT,
            "orderId": TEXT,
            "cart": Record(
                {"products": _PRODUCTS, "numItems": INTEGER}, required=("products",), aliases=_PRODUCTS_ALIAS
            ),
        }
    ),
    "prodView": _attribute({"currency": TEXT, "products": _products(_VIEWED_PRODUCT)}, aliases=_PRODUCTS_ALIAS),
    "ctmrinfo": _attribute({"info": _CUSTOMER}, flat="info"),
    "mrktInfo": _attribute({"info": _MARKETING}),
    "personal": _attribute({"personal": _PERSON}),
    "lead": _attribute({"lead": Record({"topic": TEXT, "value": AMOUNT, "currency": TEXT, "leadId": TEXT})}),
    "service": _attribute(
        {"service": Record({"topic": TEXT, "status": _SERVICE_STATUS, "category": TEXT, "serviceId": TEXT})}
    ),
    "error": _attribute(
        {"error": Record({"contextId": TEXT, "message": TEXT, "code": TEXT, "level": INTEGER, "resolved": Flag()})}
    ),
    "searchInfo": _attribute({"keywords": Many(TEXT)}),
}


def _refuse(kind: str) -> tuple[Rule, Severity, str]:
    if kind.startswith("imp"):
        return "forbidden", "error", "impression events are allowed only in impAttributes of an update"
    if kind == "section":
        return "enum", "error", "page sections are no engagement attribute; put their names into consumerSections"
    return "enum", "error", f"must be one of {', '.join(ATTRIBUTE_TYPES)}"


ATTRIBUTES: Final = Many(ByType(ATTRIBUTE_TYPES, _refuse))
