"""What a User-Agent header tells about a visitor: its device class and system, or that it is no human at all.

Only the parsed classes leave this room, never the text. The tables are small on purpose: load shape needs the share of
phones, not the model.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Cohort = Literal["desktop", "mobile", "tablet"]


class Agent(NamedTuple):
    """Device class and, where known, system (`os` as in appDetails) and its version of at most two numbers."""

    cohort: Cohort
    os: str | None = None
    os_version: str | None = None


# Robots name themselves, leave an address to complain to, or are programs and feed readers known by name.
_ROBOT = re.compile(
    rb"bot\b|bot[/_ -]|robo|crawl|spider|slurp|nutch|archiver|feed|\brss\b|reader|fetch|monitor|preview|validator"
    rb"|link sleuth|portscout|curl|wget|python|ruby|\bperl|libwww|okhttp|go-http|^java/|httpclient|http_request"
    rb"|chef client|indy library|phantomjs|headless|selenium|protocol discovery|cfnetwork|genieo|daumoa|@|https?://",
    re.IGNORECASE,
)
_TABLET = re.compile(rb"ipad|tablet(?! pc)|kindle|silk/|playbook|nexus (?:7|9|10)\b", re.IGNORECASE)
_MOBILE = re.compile(
    rb"mobile|iphone|ipod|windows phone|iemobile|opera mini|midp|blackberry|symbian|wap browser|\bmaui|dalvik|openwave",
    re.IGNORECASE,
)
# In this order: phones' agents also name the systems that they imitate or descend from.
_SYSTEMS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("WINDOWS", re.compile(rb"Windows Phone(?: OS)? (\d+)(?:\.(\d+))?")),
    ("IOS", re.compile(rb"(?:iPhone|iPad|iPod)(?:.*? OS (\d+)(?:_(\d+))?)?")),
    ("ANDROID", re.compile(rb"Android(?: (\d+)(?:\.(\d+))?)?")),
    ("WINDOWS", re.compile(rb"Windows(?: NT (\d+)(?:\.(\d+))?)?")),
    ("MAC_OSX", re.compile(rb"Mac OS X(?: (\d+)(?:[._](\d+))?)?")),
    ("LINUX", re.compile(rb"Linux|X11")),
)


def classify(agent: bytes) -> Agent | None:
    """The classes of a User-Agent header, or None for a robot, a program or an empty header."""
    if agent in (b"", b"-") or _ROBOT.search(agent):
        return None
    system, version = _system(agent)
    return Agent(_cohort(agent, system), system, version)


def _system(agent: bytes) -> tuple[str | None, str | None]:
    for name, pattern in _SYSTEMS:
        match = pattern.search(agent)
        if match:
            numbers = [number.decode() for number in match.groups() if number]
            return name, ".".join(numbers) or None
    return None, None


def _cohort(agent: bytes, system: str | None) -> Cohort:
    if _TABLET.search(agent):
        return "tablet"
    if _MOBILE.search(agent):
        return "mobile"
    # By convention an Android browser without "Mobile" in its agent runs on a tablet.
    return "tablet" if system == "ANDROID" else "desktop"
