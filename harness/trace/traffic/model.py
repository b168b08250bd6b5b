"""The traffic model: what a trace looks like in law, without any of its visits, as a versioned JSON file.

A model says when visits begin (`Arrivals`), who comes (`Cohort`), what a visit does (`Journey`: a semi-Markov chain
over `State`s, its pauses drawn from tables of quantiles), who comes back (`Returns`), and what the calls carry
(`Values`). Fitted models and the presets are the same type, and `synth` plays either. A file is read back strictly:
unknown keys, shares that do not add up and numbers that point nowhere are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta

from harness.errors import TraceError
from harness.trace.check import MAX_COHORTS
from harness.trace.lines import read_chunks, source_name
from harness.trace.model import COHORT_PATTERN, MAX_SECONDS, Op
from harness.trace.traffic.basket import Basket
from harness.trace.traffic.shapes import RecordShape, shape_problems
from harness.wire.attributes import ATTRIBUTE_TYPES
from harness.wire.events import EVENT_TYPES

SCHEMA_PATH = Path(__file__).with_name("traffic.schema.json")

MAX_BYTES = 64 * 1024 * 1024
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Index = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]


class _Part(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Common to all parts: a key that is not known is an error, not a silent nothing."""


class Interval(_Part):
    """An estimate with its interval."""

    value: float
    low: float
    high: float


class Arrivals(_Part):
    """A rate for each of some equal bins of the period, in visits per second, and the burstiness of the gaps.

    `minutes` are factors for the minutes of each hour, where these differ; the period is then a number of hours.
    `phase_s` is how far into the period a trace begins, `cv` the coefficient of variation of the gaps in operational
    time. `mean_hz` and `burstiness` are the estimates with intervals that hold together with 95 %.
    """

    rates_hz: Annotated[list[Positive], Meta(min_length=1, max_length=1440)]
    period_s: Annotated[float, Meta(gt=0, le=MAX_SECONDS)]
    cv: Annotated[float, Meta(ge=0.009, le=32)]
    phase_s: Annotated[float, Meta(ge=0)] = 0.0
    minutes: Annotated[list[Positive], Meta(max_length=60)] = []
    mean_hz: Interval | None = None
    burstiness: Interval | None = None


class Sections(_Part):
    """One list of consumerSections, with its share among the getEngagement calls."""

    share: Share
    value: list[str]


class State(_Part):
    """A kind of step. `attributes` are the types of its engagement attributes, `events` those of its impressions.

    `mixed` gives, for the state that stands for rare combinations, each type's probability instead. A returning
    visitor's first step is `fresh` here; it goes out as `return`. `sections` replace the model's own.
    """

    op: Op
    identity: Literal["fresh", "chain", "stale"]
    sections: list[Sections] = []
    attributes: list[str] = []
    events: list[str] = []
    mixed: dict[str, Share] = {}


class Move(_Part):
    """On to a state, with a share among the moves of one list, after a pause from table number `think`."""

    to: Index
    share: Share
    think: Index


class Journey(_Part):
    """A semi-Markov chain: how visits start, what follows what, and where they end.

    `moves[s]` is what follows state s if the visit goes on; `ends[s][n]` the probability that it ends with state s as
    its step number n (from 0; the last entry holds for all later ones).
    """

    start: Annotated[list[Move], Meta(min_length=1)]
    moves: list[list[Move]]
    ends: list[Annotated[list[Share], Meta(min_length=1)]]
    max_steps: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Details(_Part):
    """One combination of what appDetails says (address aside), with its share among the cohort's visitors."""

    share: Share
    value: dict[str, str]


class Cohort(_Part):
    """A kind of visitor: its share of the visits, the number of its journey, and its devices."""

    name: Annotated[str, Meta(pattern=COHORT_PATTERN)]
    share: Share
    journey: Index
    details: list[Details] = []
    address: Share = 0.0


class Returns(_Part):
    """Which share of the visits is followed by another of the same visitor, and how long after its end (quantiles)."""

    share: Share
    gap_s: Annotated[list[Seconds], Meta(min_length=2)]


class Values(_Part):
    """What calls carry: consumerSections, and for each attribute type the shape of its values.

    With a `basket`, products that were viewed go on into cart and purchase. `kept_from` is how many visitors must share
    a value before it may stand here; `dropped` counts, by field, the kinds of value that did not.
    """

    sections: list[Sections] = []
    attributes: dict[str, RecordShape] = {}
    basket: Basket | None = None
    kept_from: int | None = None
    dropped: dict[str, int] = {}


class Dimension(_Part):
    """A line of the fidelity table: what was compared on held-out data, by which measure, and what each model gave.

    `held_out` is the value to be met where the measure is no distance; `limit` is fixed in the code beforehand, and
    `passes` says whether the fitted model keeps it (without a limit: whether it is the best).
    """

    name: str
    measure: str
    held_out: float | None
    fitted: float | None
    piecewise_poisson: float | None
    poisson: float | None
    limit: float | None
    passes: bool


class Fit(_Part):
    """Where a fitted model comes from, and the fidelity that a fit without the held-out part reached on it."""

    visits: int
    steps: int
    span_s: float
    digest: str
    held_out: str
    held_out_visits: int
    fidelity: list[Dimension]


class TrafficModel(_Part):
    """A whole model; see the module.

    `anonymized` says that the trace it was learned from was (or that there was none): so are traces made from it.
    """

    harness_traffic: Literal[1]
    source: str
    arrivals: Arrivals
    states: Annotated[list[State], Meta(min_length=1, max_length=512)]
    journeys: Annotated[list[Journey], Meta(min_length=1)]
    cohorts: Annotated[list[Cohort], Meta(min_length=1, max_length=MAX_COHORTS)]
    thinks: list[Annotated[list[Seconds], Meta(min_length=2)]]
    values: Values
    anonymized: bool = False
    returns: Returns | None = None
    fit: Fit | None = None


_decoder = msgspec.json.Decoder(TrafficModel)


def read_model(source: str | Path) -> TrafficModel:
    """The model of a file or `-`; raises `TraceError` with every problem when it is none."""
    name = source_name(source)
    content = bytearray()
    for chunk in read_chunks(source):
        content += chunk
        if len(content) > MAX_BYTES:
            raise TraceError(f"{name}: is longer than {MAX_BYTES >> 20} MiB: not a traffic model")
    return decode_model(content, name)


def decode_model(content: bytes | bytearray, name: str) -> TrafficModel:
    """The model of a file's content; `name` is what messages call it. Raises as `read_model`."""
    try:
        model = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(f"{name}: not a traffic model: {error}: make one with harness trace fit") from error
    problems = list(problems_of(model))
    if problems:
        raise TraceError(f"{name}: {problems[0]}", problems=[f"{name}: {each}" for each in problems[1:]])
    return model


def encode_model(model: TrafficModel) -> bytes:
    """The model as indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n"


def problems_of(model: TrafficModel) -> Iterator[str]:
    """What the types cannot say: shares that do not add up to 1, numbers that point nowhere, unknown types."""
    if model.arrivals.minutes and (len(model.arrivals.minutes) != 60 or model.arrivals.period_s % 3600):
        yield "arrivals.minutes: must be 60 factors, and the period a number of hours"
    yield from _shares("cohorts", [cohort.share for cohort in model.cohorts])
    names = [cohort.name for cohort in model.cohorts]
    if len(set(names)) < len(names):
        yield "cohorts: a name stands twice"
    for index, cohort in enumerate(model.cohorts):
        if cohort.journey >= len(model.journeys):
            yield f"cohorts[{index}].journey: {cohort.journey} is no journey: there are {len(model.journeys)}"
        if cohort.details:
            yield from _shares(f"cohorts[{index}].details", [each.share for each in cohort.details])
    for index, state in enumerate(model.states):
        for kind in {*state.attributes, *state.mixed} - ATTRIBUTE_TYPES.keys():
            yield f"states[{index}]: '{kind[:40]}' is no attribute type"
        for kind in set(state.events) - EVENT_TYPES.keys():
            yield f"states[{index}]: '{kind[:40]}' is no event type"
        if state.events and state.op != "update":
            yield f"states[{index}]: only an update has events"
        if state.sections:
            yield from _shares(f"states[{index}].sections", [each.share for each in state.sections])
    for index, journey in enumerate(model.journeys):
        yield from _journey_problems(f"journeys[{index}]", journey, model)
    for index, table in enumerate(model.thinks):
        yield from _ascending(f"thinks[{index}]", table)
    if model.returns:
        yield from _ascending("returns.gap_s", model.returns.gap_s)
    if model.values.sections:
        yield from _shares("values.sections", [each.share for each in model.values.sections])
    yield from shape_problems(model.values.attributes)


def _journey_problems(path: str, journey: Journey, model: TrafficModel) -> Iterator[str]:
    states = len(model.states)
    if len(journey.moves) != states or len(journey.ends) != states:
        yield f"{path}: moves and ends must have an entry for each of the {states} states"
        return
    lists = [("start", journey.start)]
    lists += [(f"moves[{index}]", moves) for index, moves in enumerate(journey.moves)]
    for name, moves in lists:
        if moves or name == "start":
            yield from _shares(f"{path}.{name}", [move.share for move in moves])
        for move in moves:
            if move.to >= states:
                yield f"{path}.{name}: {move.to} is no state: there are {states}"
            if move.think >= len(model.thinks):
                yield f"{path}.{name}: {move.think} is no table of thinks: there are {len(model.thinks)}"
    for index, (moves, ends) in enumerate(zip(journey.moves, journey.ends, strict=True)):
        if not moves and any(end < 1 for end in ends):
            yield f"{path}.moves[{index}]: nothing follows, so its ends must be 1"


def _shares(path: str, shares: Sequence[float]) -> Iterator[str]:
    total = fsum(shares)
    if not 0.999 <= total <= 1.001:
        yield f"{path}: the shares add up to {total:.4g}, not to 1"


def _ascending(path: str, values: Sequence[float]) -> Iterator[str]:
    if any(later < earlier for earlier, later in pairwise(values)):
        yield f"{path}: quantiles must ascend"


def model_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a traffic model; `traffic.schema.json` beside this file is the published copy."""
    schema = msgspec.json.schema(TrafficModel, ref_template="#/$defs/{name}")
    titled = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A harness traffic model", **schema}
    whole: dict[str, Any] = _whole(titled)
    return whole


def _whole(value: Any) -> Any:
    """The same JSON with 0 for 0.0: types that are equal but for this share one object, whichever was made first."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def model_schema_text() -> str:
    """The schema as it is published: indented JSON with a line end."""
    return orjson.dumps(model_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
