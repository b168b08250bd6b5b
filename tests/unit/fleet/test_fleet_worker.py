"""The worker process: what it calls its lives."""

from __future__ import annotations

import resource

import pytest

from harness.fleet.messages import process_of
from harness.fleet.worker import WorkerNode


def test_lives_of_one_process_are_told_from_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one host and pid, as containers that start again: lives of their own, each known as its own."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    first, second = (WorkerNode(lambda _message: None, None) for _ in range(2))  # type: ignore[arg-type]
    lives = [first._life, first._born(), second._life, second._born()]
    processes = [process_of(life.incarnation) for life in lives]
    assert len({life.incarnation for life in lives}) == 4
    assert processes[0] == processes[1] != processes[2] == processes[3]
