"""Kinds of values: how a setting is read from text (flag, environment) and from TOML, and how it is written again.

A kind turns text into the value that `RunConfig` holds, or raises `UsageError` with a line that says what to write.
TOML values become text first, so that a profile and a flag mean the same thing by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from math import isfinite

from harness.config.target import normal_host, parse_target
from harness.errors import UsageError
from harness.units import NS_PER_MS, NS_PER_S, parse_duration_ns

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Kind:
    """One kind of value: `metavar` for help, `parse` from text, `toml` types a profile may use, `show` back to text."""

    metavar: str
    parse: Callable[[str], object]
    toml: tuple[type, ...]
    toml_name: str
    show: Callable[[object], str] = str

    def from_toml(self, value: object) -> object:
        """The value of a TOML item; raises `UsageError` for another type or a bad value."""
        # bool is a subclass of int: `workers = true` must not pass as 1.
        if not isinstance(value, self.toml) or (isinstance(value, bool) and bool not in self.toml):
            raise UsageError(f"expected {self.toml_name}, not {_type_name(value)}")
        return self.parse(str(value))


def _type_name(value: object) -> str:
    names = {bool: "true/false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a date")


def _text(text: str) -> str:
    if any(character < " " for character in text):
        raise UsageError(f"{text!r} has a control character")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise UsageError("is empty")
    return _text(text)


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise UsageError(f"'{text}' is neither true nor false")
    return word in _TRUE


def _show_flag(value: object) -> str:
    return "true" if value else "false"


def exact_duration(value: object) -> str:
    """A duration in ns as text that reads back as the same number: `30s`, `250ms`, `1500us`."""
    assert isinstance(value, int)
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("us", 1_000)):
        if value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}ns"


def _positive_duration(text: str) -> int:
    value = parse_duration_ns(text)
    if value <= 0:
        raise UsageError(f"'{text}' must be above 0")
    return value


def _address(text: str) -> str:
    """HOST:PORT, :PORT or PORT; the host defaults to loopback."""
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise UsageError(f"'{text}' is not an address: write HOST:PORT, for example 127.0.0.1:9646")
    name = normal_host(host) if host else "127.0.0.1"
    return f"[{name}]:{int(port)}" if ":" in name else f"{name}:{int(port)}"


def _address_or_off(text: str) -> str | None:
    return None if text.strip().lower() == "off" else _address(text)


def _host(text: str) -> str:
    """A host, or HOST:PORT."""
    try:
        # First as a whole: an IPv6 address has colons of its own.
        return normal_host(text.strip())
    except UsageError:
        host, _, port = text.strip().rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) < 65_536):
            raise
    return f"{normal_host(host)}:{int(port)}"


def _url(text: str) -> str:
    """A target; `sim` or `sim:SCENARIO` stays as it is."""
    text = text.strip()
    return text if text == "sim" or text.startswith("sim:") else parse_target(text).url


def _account(text: str) -> str:
    if not text or not all(character.isascii() and (character.isalnum() or character in "_-") for character in text):
        raise UsageError(f"'{text}' is not an account id: letters, digits, '-' and '_' only")
    return text


def _ip(text: str) -> str:
    try:
        return str(ip_address(text.strip().strip("[]")))
    except ValueError:
        raise UsageError(f"'{text}' is not an IP address") from None


def count(minimum: int) -> Kind:
    """A whole number, at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise UsageError(f"'{text}' is not a whole number") from None
        if value < minimum:
            raise UsageError(f"{value} is below {minimum}")
        return value

    return Kind("N", parse, (int,), "a whole number")


def number(minimum: float = 0.0, maximum: float | None = None, *, above: bool = False) -> Kind:
    """A finite number from `minimum` (itself excluded if `above`) to `maximum`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"'{text}' is not a number") from None
        if not isfinite(value) or value < minimum or (above and value == minimum):
            raise UsageError(f"{text} must be {'above' if above else 'at least'} {minimum:g}")
        if maximum is not None and value > maximum:
            raise UsageError(f"{text} is above {maximum:g}")
        return value

    return Kind("X", parse, (int, float), "a number", lambda value: f"{value:g}")


def choice(names: Collection[str], metavar: str = "") -> Kind:
    """One of a closed set of words."""

    def parse(text: str) -> str:
        if text not in names:
            raise UsageError(f"'{text}' is not one of {', '.join(names)}")
        return text

    return Kind(metavar or "|".join(names), parse, (str,), "a text")


TEXT = Kind("TEXT", _filled, (str,), "a text")
ANY_TEXT = Kind("TEXT", _text, (str,), "a text")
PATH = Kind("FILE", _filled, (str,), "a path")
FLAG = Kind("", _flag, (bool,), "true or false", _show_flag)
DURATION = Kind("D", parse_duration_ns, (str, int, float), "a duration such as '30s'", exact_duration)
POSITIVE_DURATION = Kind("D", _positive_duration, (str, int, float), "a duration such as '30s'", exact_duration)
ADDRESS_OR_OFF = Kind("ADDR|off", _address_or_off, (str, int), "an address", lambda value: str(value or "off"))
BIND = Kind("ADDR", _host, (str,), "an address")
HOST = Kind("HOST", _host, (str,), "a host")
URL = Kind("URL|sim", _url, (str,), "a URL")
ACCOUNT = Kind("ID", _account, (str, int), "an account id")
IP = Kind("ADDR", _ip, (str,), "an IP address")
