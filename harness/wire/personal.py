"""What becomes of each field of a request when a trace is made anonymous: one table, beside the schema.

Fields are named by their path, attributes and events begin with their type (`personal.personal.contacts.email`). What
the table does not name is not passed on: a new field of the schema is denied until somebody decides, and a contract
test asks for that decision.

A value that lacks the form which its treatment expects is denied as well: texts become tokens, numbers lose all digits
but the first, objects and arrays are emptied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, get_args

from harness.wire.schema import ByType, Either, Many, Node, Record, Text
from harness.wire.validate import ENGAGEMENT, UPDATE_IN_TRACE

Treatment = Literal[
    "keep",  # stays as it is; only a policy says so
    "closed",  # stays if the contract's closed set or form holds it, or as a flag
    "version",  # stays if it is one to three numbers below 1,000 with dots between, six digits in all
    "currency",  # stays if it is three capital letters
    "amount",  # a number that stays if it is below 100,000 and has at most two decimals
    "count",  # a whole number that stays if it is below 10,000
    "coarse",  # a number of which the first digit stays
    "name",  # pseudonyms: of the shape of a name,
    "email",  # of an e-mail address,
    "phone",  # of a phone number,
    "ip",  # of an IP address,
    "token",  # of an id or a text
    "drop",  # is left out
]
TREATMENT_NAMES: Final[tuple[str, ...]] = get_args(Treatment)

_TABLE: Final[dict[Treatment, str]] = {
    "closed": """
        appType appDetails.deviceFamily appDetails.os
        mrktInfo.info.channel
        personal.personal.contacts.phoneType personal.personal.language
        service.service.status error.error.resolved
        impExpanded.expanded impExpanded.userInit
    """,
    "version": "appDetails.appVersion appDetails.osVersion",
    "currency": """
        cart.currency purchase.currency prodView.currency ctmrinfo.info.currency lead.lead.currency
    """,
    "amount": """
        cart.total cart.products.product.price
        purchase.total purchase.cart.products.product.price
        prodView.products.product.price lead.lead.value
    """,
    "count": """
        cart.numItems cart.products.quantity
        purchase.cart.numItems purchase.cart.products.quantity
        prodView.products.quantity prodView.products.product.quantityInStock
        error.error.level ctmrinfo.info.loginStatus
    """,
    "coarse": """
        ctmrinfo.info.balance ctmrinfo.info.companySize
        ctmrinfo.info.lastPaymentDate.day ctmrinfo.info.lastPaymentDate.month ctmrinfo.info.lastPaymentDate.year
        ctmrinfo.info.registrationDate.day ctmrinfo.info.registrationDate.month ctmrinfo.info.registrationDate.year
        personal.personal.age.age personal.personal.age.year
        personal.personal.age.month personal.personal.age.day
    """,
    "name": """
        personal.personal.firstname personal.personal.lastname personal.personal.company
        ctmrinfo.info.userName ctmrinfo.info.accountName ctmrinfo.info.companyBranch
    """,
    "email": "personal.personal.contacts.email",
    "phone": "personal.personal.contacts.phone",
    "ip": "appDetails.ipAddress",
    "token": """
        consumerSections
        cart.products.product.name cart.products.product.category cart.products.product.sku
        purchase.orderId purchase.cart.products.product.name purchase.cart.products.product.category
        purchase.cart.products.product.sku
        prodView.products.product.name prodView.products.product.category prodView.products.product.sku
        prodView.products.product.statusInStock
        ctmrinfo.info.ctype ctmrinfo.info.cstatus ctmrinfo.info.customerId ctmrinfo.info.socialId
        ctmrinfo.info.imei ctmrinfo.info.role ctmrinfo.info.storeZipCode ctmrinfo.info.storeNumber
        mrktInfo.info.affiliate mrktInfo.info.campaignId
        personal.personal.contacts.address.country personal.personal.contacts.address.region
        lead.lead.topic lead.lead.leadId
        service.service.topic service.service.category service.service.serviceId
        error.error.contextId error.error.message error.error.code
        searchInfo.keywords
    """,
    # Gender has too few values for a pseudonym. The rest are ids of the recorded service: a replay fills in its own.
    "drop": """
        personal.personal.gender impExpanded.actionableItems pageId
        impDisplay.campaign impDisplay.engId impDisplay.revision impDisplay.eContext
        impAccept.campaign impAccept.engId impAccept.revision impAccept.eContext
        impExpanded.campaign impExpanded.engId impExpanded.revision
        impTimeout.campaign impTimeout.engId impTimeout.revision
        impClose.campaign impClose.engId impClose.revision
    """,
}

TREATMENTS: Final[dict[str, Treatment]] = {
    path: treatment for treatment, paths in _TABLE.items() for path in paths.split()
}
REQUESTS: Final[dict[str, Record]] = {"get_engagement": ENGAGEMENT, "update": UPDATE_IN_TRACE}


def inside(path: str, name: str) -> str:
    """The path of a field of the record at `path`."""
    return f"{path}.{name}" if path else name


def leaves(node: Node, path: str = "") -> Iterator[str]:
    """The paths below a node that hold values: each needs a treatment. A named whole ends the walk."""
    if path in TREATMENTS:
        yield path
    elif isinstance(node, Record):
        for name, field in node.fields.items():
            yield from leaves(field, inside(path, name))
    elif isinstance(node, Many):
        yield from leaves(node.item, path)
    elif isinstance(node, ByType):
        for kind, record in node.table.items():
            for name, field in record.fields.items():
                if name != "type":  # chooses the record, and is one of the table's
                    yield from leaves(field, inside(kind, name))
    else:
        yield path


def vocabulary() -> set[str]:
    """The words of the contract itself: names of fields and types, and members of closed sets."""
    words: set[str] = set()
    for request in REQUESTS.values():
        _collect_words(request, words)
    return words


def _collect_words(node: Node, words: set[str]) -> None:
    if isinstance(node, Record):
        words.update(node.fields, node.aliases)
        for field in node.fields.values():
            _collect_words(field, words)
    elif isinstance(node, Many):
        _collect_words(node.item, words)
    elif isinstance(node, ByType):
        words.update(node.table)
        for record in node.table.values():
            _collect_words(record, words)
    elif isinstance(node, Either):
        _collect_words(node.canonical, words)
        _collect_words(node.alternate, words)
    elif isinstance(node, Text):
        words.update(node.values)
