"""`harness trace fit` and `synth` as a user runs them: pipes, determinism, messages, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.test_trace_cli import trace

pytestmark = pytest.mark.system


def test_synth_fit_synth_in_pipes() -> None:
    """A preset's trace is fitted from a pipe, the model goes through another into a trace, and it is valid."""
    options = ("--visits", "400", "--rate", "bursty:20/s,cv=2", "--seed", "4")
    code, made, err = trace("synth", "bank", *options)
    assert (code, err) == (0, "")
    header, *visits = made.splitlines()
    assert json.loads(header)["source"] == "synthesis from preset bank"
    assert (json.loads(header)["visits"], len(visits)) == (400, 400)
    assert trace("synth", "bank", *options)[1] == made
    code, model, err = trace("fit", "-", stdin=made.encode())
    assert code == 0
    assert "Fidelity on every fifth block" in err
    assert "dimensions within their limits" in err.splitlines()[-1]
    assert json.loads(model)["fit"]["visits"] == 400
    code, again, err = trace("synth", "-", "--visits", "300", stdin=model.encode())
    assert (code, err) == (0, "")
    code, out, err = trace("validate", "-", stdin=again.encode())
    assert (code, err) == (0, "")
    assert out.startswith("stdin: 300 visits, ")
    assert ", 0 bad lines, 0 warnings, " in out


def test_a_rate_with_an_end_ends_the_trace(tmp_path: Path) -> None:
    """When the rate's duration is over first, there are fewer visits, and the command says so."""
    target = tmp_path / "t.jsonl"
    code, out, err = trace("synth", "telco", "--visits", "500", "--rate", "constant:10/s:2s", "-o", target)
    assert (code, out) == (0, "")
    assert err == "20 visits, not 500: --rate constant:10/s:2s ends there\n"
    header, *visits = target.read_text().splitlines()
    assert (json.loads(header)["visits"], json.loads(header)["span_s"], len(visits)) == (20, 1.9, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synth", "shop", "--visits", "1"), "'shop' is neither a preset (retail, bank, telco) nor a file that"),
        (("synth", "retail", "--visits", "1", "--rate", "recorded"), "--rate recorded: has no rate of its own"),
        (("synth", "retail", "--visits", "1", "--rate", "closed:3"), "--rate closed:3: has no rate of its own"),
        (("synth", "retail", "--visits", "1", "--rate", "bursty:1/s"), "'bursty:1/s' is not an arrivals spec: write"),
        (("synth", "fixtures/small.jsonl", "--visits", "1"), "fixtures/small.jsonl: not a traffic model: "),
        (("fit", "fixtures/small.jsonl"), "fixtures/small.jsonl: the trace holds 20 visits; a fit needs 50"),
        (("fit", "nowhere.jsonl"), "nowhere.jsonl: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """Mistakes end with exit code 2 and one line, and leave no file behind."""
    target = tmp_path / "out.json"
    code, out, err = trace(*arguments, "-o", target)
    assert (code, out) == (2, "")
    assert err.startswith(f"harness: error: {message}")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_schema_of_models_is_printed() -> None:
    """`harness trace schema --model` prints the JSON Schema that a model names its parts by."""
    code, out, err = trace("schema", "--model")
    assert (code, err) == (0, "")
    assert json.loads(out)["title"] == "A harness traffic model"
