"""What presets are written with: pages that follow one another, shapes in short, and what all trades have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from statistics import NormalDist
from typing import NamedTuple

from harness.trace.traffic.basket import Basket
from harness.trace.traffic.model import (
    Arrivals,
    Cohort,
    Details,
    Journey,
    Move,
    Returns,
    Sections,
    State,
    TrafficModel,
    Values,
)
from harness.trace.traffic.shapes import (
    ChoiceShape,
    Field,
    MadeShape,
    MadeUp,
    ManyShape,
    Mask,
    NumberShape,
    Option,
    RecordShape,
    Scalar,
    Shape,
    TextShape,
)

_POINTS = 41
# Reading times scatter widely; a factor of exp(0.9) is one standard deviation, and nobody reads for half an hour.
_SPREAD = 0.9
_LONGEST_S = 1500.0
_MINUTE_S, _DAY_S = 60.0, 86_400.0


class Page(NamedTuple):
    """A page: sections, attribute types, median seconds until it is left, what follows (`end` is the end)."""

    sections: tuple[str, ...]
    attributes: tuple[str, ...]
    read_s: float
    follows: Mapping[str, float]
    events: tuple[str, ...] = ()


class Site(NamedTuple):
    """What distinguishes one preset; `hourly` weighs the hours of a day, `returning` is a share of visits."""

    start: Mapping[str, float]
    pages: Mapping[str, Page]
    basket: Basket
    cohorts: Mapping[str, float]
    returning: float
    hourly: Sequence[float]
    mean_hz: float
    cv: float
    attributes: Mapping[str, RecordShape]


def model_of(name: str, told: Site) -> TrafficModel:
    """The traffic model of a site: its pages are states."""
    names = list(told.pages)
    states = [_state(page) for page in told.pages.values()]
    # Table 0 is for the first step, which is due at once; table n + 1 for what follows page n.
    thinks = [[0.0, 0.0], *(_reading(page.read_s) for page in told.pages.values())]
    # A first step is fresh, later ones chain: pages on which visits begin are states in both roles.
    entries = [names.index(page) for page in told.start]
    start = [Move(to=len(states) + n, share=share, think=0) for n, share in enumerate(told.start.values())]

    def journey(hurry: float) -> Journey:
        """`hurry` above 1 ends visits sooner."""
        moves: list[list[Move]] = []
        ends: list[float] = []
        for number, page in enumerate(told.pages.values()):
            end = min(1.0, page.follows.get("end", 0.0) * hurry)
            onward = {to: share for to, share in page.follows.items() if to != "end"}
            total = sum(onward.values())
            moves.append(
                [Move(to=names.index(to), share=share / total, think=number + 1) for to, share in onward.items()]
            )
            ends.append(end if onward else 1.0)
        moves += [moves[entry] for entry in entries]
        return Journey(start=start, moves=moves, ends=[[end] for end in ends + [ends[entry] for entry in entries]])

    journeys = [journey(1.0), journey(1.4)]
    cohorts = [
        Cohort(name=cohort, share=share, journey=int(cohort != "desktop"), details=_details(cohort), address=0.3)
        for cohort, share in told.cohorts.items()
    ]
    scale = told.mean_hz * len(told.hourly) / sum(told.hourly)
    return TrafficModel(
        anonymized=True,
        harness_traffic=1,
        source=f"preset {name}",
        arrivals=Arrivals(rates_hz=[round(hour * scale, 6) for hour in told.hourly], period_s=_DAY_S, cv=told.cv),
        states=states + [_as_first(states[entry]) for entry in entries],
        journeys=journeys,
        cohorts=cohorts,
        thinks=thinks,
        returns=Returns(share=told.returning, gap_s=_quantiles(lambda z: min(_DAY_S, 3 * _MINUTE_S * exp(1.8 * z)))),
        values=Values(attributes=dict(told.attributes), basket=told.basket),
    )


def _state(page: Page) -> State:
    return State(
        op="update" if page.events else "get_engagement",
        identity="chain",
        sections=[Sections(share=1.0, value=list(page.sections))] if page.sections else [],
        attributes=list(page.attributes),
        events=list(page.events),
    )


def _as_first(state: State) -> State:
    return State(
        op=state.op, identity="fresh", sections=state.sections, attributes=state.attributes, events=state.events
    )


def _quantiles(value: Callable[[float], float]) -> list[float]:
    """A table of quantiles of a function of a standard normal, its ends at 0.25 % and 99.75 %."""
    normal = NormalDist()
    shares = [min(max(point / (_POINTS - 1), 0.0025), 0.9975) for point in range(_POINTS)]
    return [round(value(normal.inv_cdf(share)), 3) for share in shares]


def _reading(median_s: float) -> list[float]:
    return _quantiles(lambda z: min(_LONGEST_S, exp(log(median_s) + _SPREAD * z)))


def _details(cohort: str) -> list[Details]:
    systems = {
        "desktop": (
            ("WINDOWS", "11", 0.45),
            ("WINDOWS", "10", 0.25),
            ("MAC_OSX", "14.4", 0.25),
            ("LINUX", "6.1", 0.05),
        ),
        "mobile": (("ANDROID", "14", 0.4), ("ANDROID", "13", 0.2), ("IOS", "17.4", 0.4)),
        "tablet": (("IOS", "17.4", 0.6), ("ANDROID", "13", 0.4)),
    }[cohort]
    return [
        Details(
            share=share, value={"appVersion": "3.1", "deviceFamily": cohort.upper(), "os": os, "osVersion": version}
        )
        for os, version, share in systems
    ]


# Shapes, in short.


def choice(*values: Scalar) -> ChoiceShape:
    """One of some values, earlier ones more often: shares fall like 1, 1/2, 1/3, …"""
    total = sum(1 / rank for rank in range(1, len(values) + 1))
    return ChoiceShape(
        options=[Option(share=1 / rank / total, value=value) for rank, value in enumerate(values, start=1)]
    )


def record(**fields: Shape | tuple[float, Shape]) -> RecordShape:
    """An object; a field given as (share, shape) is not always there."""
    pairs = {name: field if isinstance(field, tuple) else (1.0, field) for name, field in fields.items()}
    return RecordShape(fields={name: Field(share=share, shape=shape) for name, (share, shape) in pairs.items()})


def mask(text: str) -> TextShape:
    """A text with one mask."""
    return TextShape(masks=[Mask(share=1.0, mask=text)])


def amount(median: float, spread: float, decimals: int = 2) -> NumberShape:
    """A log-normal number."""
    return NumberShape(
        quantiles=[round(each, decimals) for each in _quantiles(lambda z: median * exp(spread * z))], decimals=decimals
    )


def integer(low: int, high: int) -> NumberShape:
    """Whole numbers, all alike."""
    return NumberShape(quantiles=[low - 0.5 + 1e-6, high + 0.5 - 1e-6])


def _made(what: MadeUp) -> MadeShape:
    return MadeShape(what=what)


def common(currency: str, languages: Sequence[str], country: str) -> dict[str, RecordShape]:
    """What customers and campaigns look like everywhere."""
    date = record(day=integer(1, 28), month=integer(1, 12), year=integer(2012, 2024))
    customer = record(
        ctype=choice("private", "business", "vip"),
        cstatus=choice("active", "new", "cancelled"),
        balance=NumberShape(quantiles=[-900.0, -40.0, 0.0, 120.5, 950.0, 8200.0], decimals=2),
        currency=choice(currency),
        customerId=mask("C-99999999"),
        loginStatus=choice(1, 0),
        registrationDate=(0.7, date),
        lastPaymentDate=(0.3, date),
    )
    contact = record(
        email=_made("email"),
        phone=(0.6, _made("phone")),
        phoneType=(0.6, choice("MOBILE", "HOME", "WORK")),
        address=(0.5, record(country=choice(country))),
    )
    person = record(
        firstname=_made("first_name"),
        lastname=_made("last_name"),
        age=(0.4, record(year=integer(1945, 2006), month=integer(1, 12), day=integer(1, 28))),
        contacts=ManyShape(counts=[0.0, 0.9, 0.1], item=contact),
        gender=(0.5, choice("FEMALE", "MALE", "OTHER")),
        language=choice(*languages),
    )
    campaign = record(
        channel=choice("1", "0", "3", "2", "4"),
        affiliate=(0.4, choice("newsletter", "price-comparison", "partner")),
        campaignId=(0.8, choice("always-on", "spring", "brand", "win-back")),
    )
    return {
        "ctmrinfo": record(info=customer),
        "personal": record(personal=person),
        "mrktInfo": record(info=campaign),
    }


def support(
    currency: str, topics: Sequence[str], categories: Sequence[str], leads: Sequence[str], words: Sequence[str]
) -> dict[str, RecordShape]:
    """Service cases, leads, errors and searches of a trade."""
    return {
        "service": record(
            service=record(
                topic=choice(*topics), status=integer(0, 10), category=choice(*categories), serviceId=mask("S-999999")
            )
        ),
        "lead": record(
            lead=record(
                topic=choice(*leads), value=amount(60, 0.8), currency=choice(currency), leadId=mask("L-9999999")
            )
        ),
        "error": record(
            error=record(
                contextId=choice("checkout", "login", "form"),
                message=choice("card declined", "session expired", "required field is empty", "code is wrong"),
                code=mask("E9999"),
                level=integer(1, 4),
                resolved=choice(False, True),
            )
        ),
        "searchInfo": record(keywords=ManyShape(counts=[0.0, 0.8, 0.2], item=choice(*words))),
    }
