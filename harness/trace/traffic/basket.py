"""A visitor's shopping: what was viewed goes into the cart, and what is in the cart is bought.

Only presets have one: independent draws would give carts of goods that nobody looked at, and totals that are no sum.
"""

from __future__ import annotations

from random import Random
from typing import Annotated

import msgspec
import orjson
from msgspec import Meta

BASKET_TYPES = frozenset({"prodView", "cart", "purchase"})


class Product(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Something for sale (or a tariff, or an account): price in units of the basket's currency."""

    name: str
    category: str
    sku: str
    price: Annotated[float, Meta(ge=0, le=1e9)]


class Basket(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What can be viewed and bought; `order_prefix` begins its order ids."""

    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    products: Annotated[list[Product], Meta(min_length=1)]
    order_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{0,8}$")] = "O"


class Shelf:
    """The products of a basket as JSON texts."""

    def __init__(self, basket: Basket) -> None:
        self.products = [(msgspec.json.encode(product), round(product.price * 100)) for product in basket.products]
        currency = orjson.dumps(basket.currency)
        self.view = b'{"type":"prodView","currency":' + currency + b',"products":[{"product":%s,"quantity":1}]}'
        self.cart = b'{"type":"cart","total":%.2f,"currency":' + currency + b',"numItems":%d,"products":[%s]}'
        self.purchase = (
            b'{"type":"purchase","total":%.2f,"currency":'
            + currency
            + b',"orderId":"'
            + basket.order_prefix.encode()
            + b'%08d","cart":{"products":[%s],"numItems":%d}}'
        )


class Shopping:
    """One visit's way along the shelf."""

    __slots__ = ("_cents", "_items", "_lines", "_shelf", "_viewed")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._viewed: tuple[bytes, int] | None = None
        self._lines: list[bytes] = []
        self._items = 0
        self._cents = 0

    def attribute(self, kind: str, rng: Random) -> bytes:
        """The JSON of a `prodView`, `cart` or `purchase` at this point of the visit."""
        shelf = self._shelf
        if kind == "prodView":
            self._viewed = self._any(rng)
            return shelf.view % self._viewed[0]
        if kind == "cart":
            self._add(rng)
            return shelf.cart % (self._cents / 100, self._items, b",".join(self._lines))
        if not self._lines:
            self._add(rng)
        order = int(rng.random() * 1e8)
        sold = shelf.purchase % (self._cents / 100, order, b",".join(self._lines), self._items)
        self._lines, self._items, self._cents = [], 0, 0
        return sold

    def _add(self, rng: Random) -> None:
        """What was viewed last goes into the cart; showing the cart again changes nothing."""
        if self._lines and self._viewed is None:
            return
        text, cents = self._viewed or self._any(rng)
        quantity = 1 if rng.random() < 0.8 else 2
        self._lines.append(b'{"product":%s,"quantity":%d}' % (text, quantity))
        self._items += quantity
        self._cents += quantity * cents
        self._viewed = None

    def _any(self, rng: Random) -> tuple[bytes, int]:
        return self._shelf.products[int(rng.random() * len(self._shelf.products))]
