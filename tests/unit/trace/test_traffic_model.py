"""Reading a traffic model: strictly, with every problem named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.errors import TraceError
from harness.trace.traffic.model import encode_model, read_model
from harness.trace.traffic.presets import preset

GOOD = orjson.loads(encode_model(preset("retail")))
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    model = orjson.loads(orjson.dumps(GOOD))
    change(model)
    return orjson.dumps(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("arrivals"), "missing required field `arrivals`"),
        (lambda m: m.update(harness_traffic=2), "Invalid enum value 2 - at `$.harness_traffic`"),
        (lambda m: m.update(extra=1), "unknown field `extra`"),
        (lambda m: m["states"][0].update(identity="return"), "Invalid enum value 'return' - at `$.states[0].identity`"),
        (lambda m: m["arrivals"].update(cv=0), "`float` >= 0.009 - at `$.arrivals.cv`"),
        (lambda m: m["arrivals"].update(rates_hz=[0.0]), "`float` > 0.0 - at `$.arrivals.rates_hz[0]`"),
        (lambda m: m["arrivals"].update(minutes=[1.0]), "arrivals.minutes: must be 60 factors"),
        (lambda m: m["cohorts"][0].update(share=0.9), "cohorts: the shares add up to 1.5, not to 1"),
        (lambda m: m["cohorts"][0].update(name=m["cohorts"][1]["name"]), "cohorts: a name stands twice"),
        (lambda m: m["cohorts"][0].update(journey=7), "cohorts[0].journey: 7 is no journey: there are 2"),
        (lambda m: m["states"][0].update(attributes=["carts"]), "states[0]: 'carts' is no attribute type"),
        (lambda m: m["states"][0].update(events=["impDisplay"]), "states[0]: only an update has events"),
        (lambda m: m["journeys"][0]["start"][0].update(to=99), "journeys[0].start: 99 is no state"),
        (lambda m: m["journeys"][0]["start"][0].update(think=99), "journeys[0].start: 99 is no table of thinks"),
        (lambda m: m["journeys"][1]["moves"].pop(), "journeys[1]: moves and ends must have an entry for each of"),
        (
            lambda m: m["journeys"][0]["moves"].__setitem__(0, []),
            "journeys[0].moves[0]: nothing follows, so its ends must be 1",
        ),
        (lambda m: m["thinks"].__setitem__(1, [2.0, 1.0]), "thinks[1]: quantiles must ascend"),
        (lambda m: m["returns"].update(gap_s=[1.0]), "length >= 2 - at `$.returns.gap_s`"),
        (
            lambda m: m["values"]["attributes"]["searchInfo"]["fields"]["keywords"]["shape"].update(counts=[0.5]),
            "values.attributes.searchInfo.keywords: the shares add up to 0.5, not to 1",
        ),
        (
            lambda m: m["values"]["attributes"].update(other=m["values"]["attributes"]["lead"]),
            "values.attributes.other: is no attribute type",
        ),
    ],
)
def test_a_bad_model_is_refused_with_a_line(change: Change, message: str, tmp_path: Path) -> None:
    """What is wrong with a model is said in one line that names the file and the place."""
    path = tmp_path / "model.json"
    path.write_bytes(changed(change))
    with pytest.raises(TraceError) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"harness_trace":1}', b"[" * 100_000])
def test_what_is_no_model_at_all_is_refused(content: bytes, tmp_path: Path) -> None:
    """Empty, broken, foreign and hostile files are no models."""
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="not a traffic model"):
        read_model(path)


def test_every_problem_is_listed(tmp_path: Path) -> None:
    """Several problems are all told at once."""
    path = tmp_path / "model.json"
    path.write_bytes(changed(lambda m: (m["cohorts"][0].update(journey=7), m["thinks"].__setitem__(1, [2.0, 1.0]))))
    with pytest.raises(TraceError) as caught:
        read_model(path)
    assert [each.partition(": ")[2] for each in caught.value.problems] == ["thinks[1]: quantiles must ascend"]


def test_a_sound_model_reads_back(tmp_path: Path) -> None:
    """A model that was written is read as the same, compressed or not."""
    path = tmp_path / "model.json"
    path.write_bytes(encode_model(preset("telco")))
    assert read_model(path) == preset("telco")
