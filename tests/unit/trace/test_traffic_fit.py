"""Fitting: what is learned from a trace whose law is known, and what is not learned."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from scipy import stats

from harness.errors import TraceError
from harness.trace.codec import decode_visit
from harness.trace.model import Header, Step, Visit
from harness.trace.traffic.fidelity import fidelity, kolmogorov_smirnov, total_variation, wasserstein
from harness.trace.traffic.fit import Learned, fit_model, in_held_out, prepare
from harness.trace.traffic.gather import Gathered
from harness.trace.traffic.harvest import KEPT_FROM
from harness.trace.traffic.journeys import quantiles
from harness.trace.traffic.model import Returns, TrafficModel, decode_model, encode_model
from harness.trace.traffic.presets import preset
from harness.trace.traffic.shapes import between
from harness.trace.traffic.synth import Synthesiser, model_arrivals_s
from harness.wire.validate import check_request, has_errors


def gathered(visits: list[Visit], *, anonymized: bool = True) -> Gathered:
    columns = Gathered(KEPT_FROM, anonymized=anonymized)
    for visit in visits:
        columns.add(visit)
    return columns


def prepared(visits: list[Visit], *, anonymized: bool = True) -> Learned:
    header = Header(harness_trace=1, source="test", anonymized=anonymized)
    return prepare(gathered(visits, anonymized=anonymized), header, "x")


def step(think: float = 0.0, identity: Any = "chain", op: Any = "get_engagement", **request: Any) -> Step:
    return Step(
        op=op, think=think, identity=identity, request=msgspec.Raw(orjson.dumps({"appType": "EXTERNAL", **request}))
    )


def visit(number: int, at: float, *steps: Step, visitor: str = "", cohort: str = "all", returns: bool = False) -> Visit:
    return Visit(
        id=f"v{number}", visitor=visitor or f"u{number}", at=at, steps=list(steps), cohort=cohort, returns=returns
    )


@pytest.fixture(scope="module")
def shop() -> tuple[TrafficModel, TrafficModel]:
    """A preset without memory of the hour, and what was learned from 5,000 visits of it."""
    model = preset("retail")
    model = msgspec.structs.replace(
        model,
        arrivals=msgspec.structs.replace(model.arrivals, rates_hz=[4.0]),
        # Short, so that few are to return after the trace's end.
        returns=Returns(share=0.18, gap_s=[6.0, 10.0]),
    )
    moments = list(islice(model_arrivals_s(model, 3), 5000))
    visits = [decode_visit(line, "x") for line in Synthesiser(model, 3).lines(moments)]
    return model, fit_model(prepared(visits))


def test_arrivals_are_found_again(shop: tuple[TrafficModel, TrafficModel]) -> None:
    """Rate and burstiness lie within the intervals that the fit states."""
    model, learned = shop
    arrivals = learned.arrivals
    assert arrivals.mean_hz is not None
    assert arrivals.burstiness is not None
    assert arrivals.mean_hz.low <= 4.0 <= arrivals.mean_hz.high
    assert arrivals.burstiness.low <= model.arrivals.cv <= arrivals.burstiness.high


def test_journeys_are_found_again(shop: tuple[TrafficModel, TrafficModel]) -> None:
    """The desktop's moves after a viewed product, and where it ends, are the preset's (four standard deviations)."""
    model, learned = shop

    def named(of: TrafficModel, number: int) -> tuple[Any, ...]:
        state = of.states[number]
        sections = tuple(state.sections[0].value) if state.sections else ()
        return state.op, state.identity, tuple(sorted(state.attributes)), tuple(state.events), sections

    def journey(of: TrafficModel) -> Any:
        return of.journeys[next(cohort.journey for cohort in of.cohorts if cohort.name == "desktop")]

    # Pages that differ by their sections only are one kind of step to a fit; the product page is not among those.
    def row(of: TrafficModel) -> tuple[float, dict[tuple[Any, ...], float]]:
        place = next(
            number
            for number, state in enumerate(of.states)
            if (state.attributes, state.identity) == (["prodView"], "chain")
        )
        ends = journey(of).ends[place]
        moves: Counter[tuple[Any, ...]] = Counter()
        for move in journey(of).moves[place]:
            moves[named(of, move.to)[:4]] += move.share  # type: ignore[assignment]
        return ends[min(3, len(ends) - 1)], dict(moves)

    (true_end, true_moves), (end, moves) = row(model), row(learned)
    assert end == pytest.approx(true_end, abs=0.09)
    assert set(true_moves) == set(moves)
    for key, share in true_moves.items():
        assert moves[key] == pytest.approx(share, abs=4 * (share * (1 - share) / 1500) ** 0.5)


def test_cohorts_devices_and_returns_are_found_again(shop: tuple[TrafficModel, TrafficModel]) -> None:
    """Cohort shares, devices and the share of returning visitors are the preset's, as far as it could be seen."""
    model, learned = shop
    truth = {cohort.name: cohort for cohort in model.cohorts}
    for cohort in learned.cohorts:
        assert cohort.share == pytest.approx(truth[cohort.name].share, abs=0.04)
        assert cohort.address == pytest.approx(0.3, abs=0.1)
        wanted = {tuple(sorted(each.value.items())): each.share for each in truth[cohort.name].details}
        found = {tuple(sorted(each.value.items())): each.share for each in cohort.details}
        assert found == pytest.approx(wanted, abs=0.08)
    assert learned.returns is not None
    assert learned.returns.share == pytest.approx(0.17, abs=0.025)
    assert between(learned.returns.gap_s, 0.5) == pytest.approx(8.0, abs=0.5)


def test_values_of_a_fit_are_valid_and_keep_no_personal_text(shop: tuple[TrafficModel, TrafficModel]) -> None:
    """What a fit learned of values makes requests without a finding; mailboxes and ids are made up."""
    _, learned = shop
    text = encode_model(learned).decode()
    assert decode_model(text.encode(), "x") == learned
    for word in ("example.com", "Muster", "+1 202", "192.0.2", "C-1"):
        assert word not in text
    assert '"mask": "A-99999999"' in text
    assert "free shipping" not in text


def test_planted_personal_data_does_not_get_into_a_model() -> None:
    """Names, mails, numbers, ids, free text and unknown keys of few visitors leave nothing in the file."""
    secrets = ["Zebulon", "zebulon@mail.test", "+49 151 7654321", "QX-SECRET-77", "my pin is 4711", "10.9.8.7", "hush"]
    person = {
        "firstname": secrets[0], "lastname": secrets[0], "company": secrets[0], "secretKey": secrets[6],
        "contacts": [{"email": secrets[1], "phone": secrets[2], "hush": secrets[6]}],
    }  # fmt: skip
    attributes = [
        {"type": "personal", "personal": person, "hush": 1},
        {"type": "ctmrinfo", "info": {"customerId": secrets[3], "userName": secrets[0], "balance": 987654.321}},
        {"type": "error", "error": {"message": secrets[4]}},
        {"type": "searchInfo", "keywords": [secrets[4]]},
    ]
    details = {"ipAddress": secrets[5], "os": "LINUX", "osVersion": "zebulon-1"}
    request = {"appDetails": details, "consumerSections": ["zebulons page"], "engagementAttributes": attributes}
    visits = [
        visit(
            number,
            float(number),
            step(identity="fresh", **(request if number % 20 == 0 else {})),
            visitor=f"u{number % 80}",
            cohort="zebulon" if number == 7 else "all",
        )
        for number in range(100)
    ]
    learned = fit_model(prepared(visits))
    text = encode_model(learned).decode().lower()
    for secret in ["zebulon", "mail.test", "7654321", "qx-", "secret", "pin", "10.9.8", "hush", "987654"]:
        assert secret not in text, secret
    assert learned.values.dropped["cohort"] == 1
    assert [cohort.name for cohort in learned.cohorts] == ["all"]


def test_what_many_share_is_kept_only_if_anonymizing_would_let_it_stay() -> None:
    """Of a trace with personal data no text of anybody is kept, though all visitors have it; closed sets are."""
    secrets = ["call zebulon 4711", "Elm Street 12", "zeb@mail.test", "Zebulonia", "4155550134", "u=zebulon"]
    attributes = [
        {"type": "service", "service": {"topic": secrets[0], "category": secrets[3]}},
        {
            "type": "personal",
            "personal": {
                "gender": "FEMALE",
                "language": "en-US",
                "contacts": [{"phoneType": "HOME", "address": {"country": secrets[1], "region": secrets[3]}}],
            },
        },
        {
            "type": "ctmrinfo",
            "info": {"ctype": secrets[3], "role": secrets[2], "balance": 4155550134, "currency": "EUR"},
        },
        {"type": "error", "error": {"contextId": secrets[0], "code": secrets[2]}},
        {"type": "cart", "total": 12.5, "numItems": 1, "products": [{"product": {"name": secrets[3]}, "quantity": 1}]},
    ]
    details = {"os": "LINUX", "osVersion": "zebulon-1", "appVersion": "3.1"}
    request = {"appDetails": details, "consumerSections": [secrets[5]], "engagementAttributes": attributes}
    visits = [visit(number, float(number), step(identity="fresh", **request)) for number in range(100)]

    learned = fit_model(prepared(visits, anonymized=False))
    assert not learned.anonymized
    text = encode_model(learned).decode()
    for secret in [*secrets, "ebulon", "4711", "Elm", "mail.test", "FEMALE"]:
        assert secret not in text, secret
    for harmless in ("en-US", "HOME", "EUR", "LINUX", "3.1", "12.5", "4000000000", "aaaa aaaaaaa 9999", "a-aaaaaaa"):
        assert harmless.replace("a-a", "a=a") in text, harmless
    line = next(Synthesiser(learned, 1).lines([0.0]))
    assert has_no_errors(orjson.loads(line)["steps"][0]["request"])

    # Once it is anonymized its values are pseudonyms, and as good as any other value.
    kept = fit_model(prepared(visits))
    assert kept.anonymized
    assert all(secret in encode_model(kept).decode() for secret in [*secrets[:4], secrets[5]])


def has_no_errors(request: Any) -> bool:
    return not has_errors(check_request("get_engagement", request))


def test_updates_come_back_as_they_were() -> None:
    """Updates with events, with attributes, with both or with neither are made again with just these."""
    kinds: list[dict[str, Any]] = [
        {"impAttributes": [{"type": "impDisplay"}]},
        {"engagementAttributes": [{"type": "lead"}]},
        {"impAttributes": [{"type": "impClose"}], "engagementAttributes": [{"type": "lead"}]},
        {},
    ]
    visits = [
        visit(
            n,
            float(n),
            step(identity="fresh"),
            Step(op="update", think=1.0, request=msgspec.Raw(orjson.dumps(kinds[n % 4]))),
        )
        for n in range(80)
    ]
    model = fit_model(prepared(visits))
    made = [decode_visit(line, "x") for line in Synthesiser(model, 1).lines([float(n) for n in range(200)])]
    requests = {bytes(later.request) for each in made for later in each.steps[1:]}
    assert requests == {orjson.dumps(kind) for kind in kinds}


def test_rare_combinations_become_one_mixed_state() -> None:
    """Combinations that fewer than five visitors share are one state with each type's share; the others stand alone."""
    search, view = {"type": "searchInfo"}, {"type": "prodView"}
    visits = [
        visit(
            n, float(n), step(identity="fresh", engagementAttributes=[view] if n < 90 else [search, *[view] * (n % 2)])
        )
        for n in range(94)
    ]
    states = fit_model(prepared(visits)).states
    assert [(state.attributes, state.mixed) for state in states] == [
        (["prodView"], {}),
        ([], {"prodView": 0.5, "searchInfo": 1.0}),
    ]


@pytest.mark.parametrize(
    ("visits", "message"),
    [
        ([visit(n, float(n), step()) for n in range(49)], "x: the trace holds 49 visits; a fit needs 50"),
        ([visit(n, 3.0, step()) for n in range(60)], "x: all visits begin at the same moment"),
    ],
)
def test_what_cannot_be_fitted_is_said(visits: list[Visit], message: str) -> None:
    """Too few visits, or no time between them, end in one line."""
    with pytest.raises(TraceError) as caught:
        prepared(visits)
    assert str(caught.value).startswith(message)


def test_a_trace_with_nobody_held_out_has_no_table() -> None:
    """Where fewer than ten visits can be held out there is no fidelity table, and the fit goes on."""
    learned = prepared([visit(n, n * 1e-3 if n < 59 else 1000.0, step()) for n in range(60)])
    assert sum(in_held_out(learned)) < 10
    assert fidelity(learned, 1) == []
    assert fit_model(learned).arrivals.cv > 3


def test_quantiles_are_sorted_values_interpolated() -> None:
    """A table of quantiles goes from the least to the greatest value and through the median."""
    table = quantiles([5.0, 1.0, 3.0] * 10)
    assert (table[0], between(table, 0.5), table[-1]) == (1.0, pytest.approx(3.0, abs=0.7), 5.0)
    assert quantiles([2.5]) == [2.5, 2.5]


def test_distances_agree_with_scipy() -> None:
    """Kolmogorov-Smirnov and Wasserstein distances are scipy's, with ties and different sizes; mixes by hand."""
    rng = Random(1)
    for size in (1, 7, 50):
        one = sorted(round(rng.gauss(0, 1), 1) for _ in range(size))
        other = sorted(round(rng.gauss(0.3, 2), 1) for _ in range(40))
        assert kolmogorov_smirnov(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
        assert wasserstein(one, other) == pytest.approx(stats.wasserstein_distance(one, other))
    assert total_variation(Counter(a=3, b=1), Counter(a=1, c=1)) == pytest.approx((0.25 + 0.25 + 0.5) / 2)


def test_the_table_tells_a_true_model_from_naive_ones() -> None:
    """On bursty visits the fit keeps the limits of arrivals and wins in likelihood; Poisson models do not."""
    model = preset("bank")
    model = msgspec.structs.replace(model, arrivals=msgspec.structs.replace(model.arrivals, rates_hz=[30.0], cv=3.0))
    moments = list(islice(model_arrivals_s(model, 5), 3000))
    visits = [decode_visit(line, "x") for line in Synthesiser(model, 5).lines(moments)]
    table = {(each.name, each.measure): each for each in fidelity(prepared(visits), 1)}
    likelihood = table["log-likelihood per visit", "best"]
    assert likelihood.passes
    assert likelihood.fitted is not None
    assert likelihood.piecewise_poisson is not None
    assert likelihood.fitted > likelihood.piecewise_poisson + 1
    gap = table["gap between visits", "KS"]
    assert gap.passes
    assert gap.limit is not None
    assert gap.piecewise_poisson is not None
    assert gap.piecewise_poisson > 3 * gap.limit
    for name in ("dispersion, block/6", "dispersion, block"):
        row = table[name, "var/mean"]
        assert row.passes, row
        assert row.poisson is not None
        assert row.held_out is not None
        assert row.poisson < row.held_out / 2
    assert all(table[name, "KS"].passes for name in ("steps per visit", "think time", "length of a visit"))
