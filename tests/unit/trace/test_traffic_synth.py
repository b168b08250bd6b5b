"""Presets and synthesis: plausible, valid, deterministic."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from harness.cli.main import run_command
from harness.errors import TraceError
from harness.trace.check import TraceChecker
from harness.trace.codec import decode_visit
from harness.trace.model import Visit
from harness.trace.traffic.model import TrafficModel, decode_model, encode_model, problems_of
from harness.trace.traffic.presets import NAMES, preset
from harness.trace.traffic.shapes import ChoiceShape, Field, Option, RecordShape
from harness.trace.traffic.synth import RETURN_MARGIN_S, Synthesiser, model_arrivals_s
from harness.wire.attributes import ATTRIBUTE_TYPES

VISITS = 1500


def lines(model: TrafficModel, seed: int, visits: int = VISITS) -> list[bytes]:
    return list(Synthesiser(model, seed).lines(list(islice(model_arrivals_s(model, seed), visits))))


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest) -> tuple[TrafficModel, list[Visit]]:
    """A preset's model and visits of it."""
    model = preset(request.param)
    return model, [decode_visit(line, "x") for line in lines(model, 1)]


def bodies(visit: Visit) -> list[dict[str, Any]]:
    return [orjson.loads(bytes(step.request)) for step in visit.steps]


def test_presets_are_sound_models(made: tuple[TrafficModel, list[Visit]]) -> None:
    """A preset has no problem, and survives a round trip through a file."""
    model, _ = made
    assert list(problems_of(model)) == []
    assert decode_model(encode_model(model), "x") == model


def test_visits_pass_every_check(made: tuple[TrafficModel, list[Visit]]) -> None:
    """The trace checker, wire validation included, finds nothing, not even a warning; ids are unique."""
    checker = TraceChecker()
    assert [str(found) for number, visit in enumerate(made[1]) for found in checker.check(number, visit)] == []
    assert checker.finish() == []
    assert len({visit.id for visit in made[1]}) == VISITS


def test_all_attribute_types_events_and_cohorts_occur(made: tuple[TrafficModel, list[Visit]]) -> None:
    """All ten attribute types, three impression events and three cohorts are in a preset's visits."""
    requests = [body for visit in made[1] for body in bodies(visit)]
    kinds = {each["type"] for body in requests for each in body.get("engagementAttributes", ())}
    events = {each["type"] for body in requests for each in body.get("impAttributes", ())}
    assert kinds == set(ATTRIBUTE_TYPES)
    assert events == {"impDisplay", "impAccept", "impClose"}
    assert {visit.cohort for visit in made[1]} == {"desktop", "mobile", "tablet"}


def test_who_comes_again_is_the_same(made: tuple[TrafficModel, list[Visit]]) -> None:
    """A returning visitor comes after its visit has ended, with the same device, and was marked as returning."""
    by_visitor: defaultdict[str, list[Visit]] = defaultdict(list)
    for visit in made[1]:
        by_visitor[visit.visitor].append(visit)
    returned = 0
    for visits in by_visitor.values():
        for before, after in pairwise(visits):
            returned += 1
            assert before.returns
            assert after.steps[0].identity == "return"
            assert after.at >= before.at + sum(step.think for step in before.steps) + RETURN_MARGIN_S - 1e-3
            assert bodies(before)[0].get("appDetails") == bodies(after)[0].get("appDetails")
        assert visits[0].steps[0].identity == "fresh"
        assert not visits[-1].returns
    assert returned


def test_shopping_adds_up(made: tuple[TrafficModel, list[Visit]]) -> None:
    """A cart's total and number are those of its products; a purchase is of the products that the cart showed last."""
    carts = purchases = 0
    for visit in made[1]:
        shown: list[Any] | None = None
        for body in bodies(visit):
            for each in body.get("engagementAttributes", ()):
                if each["type"] not in ("cart", "purchase"):
                    continue
                products = each["products"] if each["type"] == "cart" else each["cart"]["products"]
                total = sum(line["product"]["price"] * line["quantity"] for line in products)
                assert each["total"] == pytest.approx(total, abs=0.005)
                number = each["numItems"] if each["type"] == "cart" else each["cart"]["numItems"]
                assert number == sum(line["quantity"] for line in products)
                if each["type"] == "cart":
                    carts += 1
                    assert shown is None or products[: len(shown)] == shown
                    shown = products
                else:
                    purchases += 1
                    assert shown is None or products[: len(shown)] == shown
                    shown = None
    assert carts > 20
    assert purchases


def test_the_same_seed_gives_the_same_bytes(made: tuple[TrafficModel, list[Visit]]) -> None:
    """Equal seeds give equal lines, others others; and whoever comes first does not depend on how many follow."""
    model, _ = made
    first = lines(model, 7, 200)
    assert first == lines(model, 7, 200)
    assert first != lines(model, 8, 200)
    synthesiser = Synthesiser(msgspec.structs.replace(model, returns=None), 7)
    assert list(synthesiser.lines([1.0, 2.0])) == list(synthesiser.lines([1.0, 2.0, 3.0]))[:2]


def test_visits_follow_the_shares_of_their_model() -> None:
    """Starts, cohorts and the first move after a page come as often as the model says (four standard deviations)."""
    model = preset("retail")
    visits = [decode_visit(line, "x") for line in lines(model, 3, 6000)]
    cohorts = Counter(visit.cohort for visit in visits)
    for cohort in model.cohorts:
        margin = 4 * (6000 * cohort.share * (1 - cohort.share)) ** 0.5
        # Returning visitors keep their cohort, which clusters a little.
        assert cohorts[cohort.name] == pytest.approx(6000 * cohort.share, abs=1.3 * margin)
    begun = [visit for visit in visits if bodies(visit)[0].get("consumerSections") == ["landing", "sale"]]
    share = next(move.share for move in model.journeys[0].start if model.states[move.to].attributes == ["mrktInfo"])
    assert len(begun) == pytest.approx(6000 * share, abs=4 * (6000 * share * (1 - share)) ** 0.5)
    desktop = [visit for visit in begun if visit.cohort == "desktop"]
    ended = sum(len(visit.steps) == 1 for visit in desktop)
    assert ended == pytest.approx(0.35 * len(desktop), abs=4 * (len(desktop) * 0.35 * 0.65) ** 0.5)


def test_a_shape_that_the_contract_refuses_is_named() -> None:
    """A model whose values the service would refuse ends in one line that names the field."""
    model = preset("retail")
    wrong = RecordShape(
        fields={"keywords": Field(share=1.0, shape=ChoiceShape(options=[Option(share=1.0, value="x")]))}
    )
    model = msgspec.structs.replace(
        model, values=msgspec.structs.replace(model.values, attributes={"searchInfo": wrong})
    )
    with pytest.raises(TraceError, match=r"values\.attributes\.searchInfo gives requests .*keywords"):
        Synthesiser(model, 1)


def test_a_bare_model_makes_valid_visits() -> None:
    """A model that knows nothing of values still makes requests that the contract accepts, for every type."""
    model = msgspec.structs.replace(
        preset("bank"), values=msgspec.structs.replace(preset("bank").values, attributes={}, basket=None)
    )
    checker = TraceChecker()
    visits = [decode_visit(line, "x") for line in lines(model, 1, 300)]
    assert [str(found) for number, visit in enumerate(visits) for found in checker.check(number, visit)] == []


@pytest.mark.parametrize("anonymized", [True, False])
def test_a_trace_is_as_anonymous_as_the_model(anonymized: bool, tmp_path: Path) -> None:
    """The header of a made-up trace says what the model says of its source; presets have none and are anonymous."""
    model = msgspec.structs.replace(preset("bank"), anonymized=anonymized)
    assert preset("bank").anonymized
    (tmp_path / "model.json").write_bytes(encode_model(model))
    made = tmp_path / "made.jsonl"
    assert run_command(["trace", "synth", str(tmp_path / "model.json"), "--visits", "3", "-o", str(made)]) == 0
    assert orjson.loads(made.read_bytes().splitlines()[0]).get("anonymized", False) is anonymized
