"""Traffic models of any trace: nothing planted gets into one, and whatever it makes is valid."""

from __future__ import annotations

import json
from itertools import islice
from random import Random

from hypothesis import given, settings

from harness.trace.check import TraceChecker
from harness.trace.codec import decode_visit
from harness.trace.model import Header
from harness.trace.traffic.fit import fit_model, prepare
from harness.trace.traffic.gather import Gathered
from harness.trace.traffic.harvest import KEPT_FROM
from harness.trace.traffic.model import TrafficModel, decode_model, encode_model
from harness.trace.traffic.synth import Synthesiser, model_arrivals_s
from tests.property.test_trace_privacy_laws import SEEDS, Planter

VISITS = 60


def fitted(planter: Planter) -> TrafficModel:
    """The model of a trace of planted visits."""
    header, *lines = planter.trace(VISITS)
    gathered = Gathered(KEPT_FROM)
    for line in lines:
        gathered.add(decode_visit(json.dumps(line).encode(), "x"))
    return fit_model(prepare(gathered, Header(harness_trace=1, source=header["source"]), "x"))


@given(SEEDS)
@settings(max_examples=8)
def test_no_secret_gets_into_a_model(seed: int) -> None:
    """Secrets in every field, key and nesting, in names, cohorts and the header: none stands in the model's file."""
    planter = Planter(Random(seed), hostile=True)
    model = fitted(planter)
    content = encode_model(model)
    assert decode_model(content, "x") == model
    text = json.dumps(json.loads(content), ensure_ascii=False)
    assert [secret for secret in planter.secrets if secret in text] == []
    assert len(planter.secrets) > VISITS


@given(SEEDS)
@settings(max_examples=4)
def test_whatever_a_model_makes_is_valid(seed: int) -> None:
    """A model of any valid visits makes visits in which the checker finds no error."""
    model = fitted(Planter(Random(seed), hostile=False))
    checker = TraceChecker()
    for number, line in enumerate(Synthesiser(model, seed).lines(list(islice(model_arrivals_s(model, seed), 100)))):
        findings = checker.check(number, decode_visit(line, "x"))
        assert [str(found) for found in findings if found.severity == "error"] == []
