"""Attempts told one by one, beside their folding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.fleet.attempt_log import AttemptLog
from harness.fleet.telling import OnAttempts, TellingRecorder
from harness.measure.recorder import Recorder
from harness.visitor.records import Attempt, Chain, Result


def attempt(number: int) -> Attempt:
    """An attempt that took as many ms as its number says."""
    done_ns = number * 1_000_000
    return Attempt(
        f"v-{number}", "all", "get_engagement", 0, 1, Result.available, Chain.started, False, False, 200, -1,
        0, 10, 20, 30, done_ns, "",
    )  # fmt: skip


def test_each_attempt_is_told_once_to_everybody_and_folded_as_always() -> None:
    """Nothing is told before `tell`, all of it in order then, nothing twice; the snapshot is the plain recorder's."""
    heard: list[tuple[str, list[int], int]] = []

    def listener(name: str) -> OnAttempts:
        return lambda attempts, t0_ns: heard.append((name, [int(each.visit[2:]) for each in attempts], t0_ns))

    recorder, plain = TellingRecorder([listener("a"), listener("b")], closed=False), Recorder()
    recorder.tell(5)
    for batch in ([attempt(1), attempt(2)], [attempt(3)]):
        recorder.attempts(batch)
        plain.attempts(batch)
    assert heard == []
    recorder.tell(5)
    recorder.tell(6)
    recorder.attempts([attempt(4)])
    plain.attempts([attempt(4)])
    recorder.tell(7)
    assert heard == [("a", [1, 2, 3], 5), ("b", [1, 2, 3], 5), ("a", [4], 7), ("b", [4], 7)]
    assert recorder.take().pack() == plain.take().pack()


def test_the_log_has_a_line_for_each_attempt_and_grows(tmp_path: Path) -> None:
    """The id is the one that the target saw; times are on the run's clock."""
    path = tmp_path / "attempts.jsonl"
    log = AttemptLog(path)
    log.write([attempt(1)], 99)
    log.write([attempt(2)], 99)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["attempt"] for line in lines] == ["v-1/0/1", "v-2/0/1"]
    assert lines[1] == {
        "attempt": "v-2/0/1", "op": "get_engagement", "result": "available", "chain": "started", "http_status": 200,
        "planned_ns": 0, "started_ns": 10, "connected_ns": 20, "sent_ns": 30, "done_ns": 2_000_000,
    }  # fmt: skip
    with pytest.raises(OSError, match="Is a directory"):
        AttemptLog(tmp_path).write([attempt(3)], 0)
