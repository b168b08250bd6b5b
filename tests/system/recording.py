"""A recorder as a child process, and traces to hold against each other."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.harness_run import Command, Finished, wait_until

START_LIMIT_S = 30.0
END_LIMIT_S = 60.0
_URL = re.compile(r"recording at (http://\S+),")


class Recorder:
    """A running `harness trace record`; `url` is what clients call, `out` the trace that it will write."""

    def __init__(self, command: Command, out: Path) -> None:
        self.command = command
        self.out = out
        wait_until(lambda: self._said() is not None or not command.alive, START_LIMIT_S, "the recorder's address")
        said = self._said()
        assert said is not None, command.stderr_so_far()
        self.url = said[1]
        self.port = int(self.url.rpartition(":")[2])
        self.journal = out.with_name(f".{out.name}.recording")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Finished:
        """Sends the signal and waits for the end."""
        self.command.signal(number)
        return self.command.wait(self.command.age_s() + END_LIMIT_S)

    def _said(self) -> re.Match[str] | None:
        return _URL.search(self.command.stderr_so_far())


@contextmanager
def recorder(upstream: str, scratch: Path, *options: str) -> Iterator[Recorder]:
    """A recorder before `upstream` on a free port; killed if it still runs when the block ends."""
    out = scratch / "recorded.jsonl"
    arguments = ("trace", "record", "--listen", "127.0.0.1:0", "--upstream", upstream, "-o", str(out), *options)
    command = Command(*arguments, scratch=scratch / "recorder", out=out)
    try:
        yield Recorder(command, out)
    finally:
        command.kill()


def visits_of(path: Path) -> list[dict[str, Any]]:
    """The visits of a plain trace file."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def renamed(visits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Visits without what a recording cannot know: names of visits and visitors become numbers in order, times go."""
    visitors: dict[str, int] = {}
    made = []
    for number, visit in enumerate(visits):
        steps = [{key: value for key, value in step.items() if key != "think"} for step in visit["steps"]]
        visitor = visitors.setdefault(visit["visitor"], len(visitors))
        made.append(
            {
                "visit": number,
                "visitor": visitor,
                "cohort": visit["cohort"],
                "returns": visit["returns"],
                "steps": steps,
            }
        )
    return made


def thinks_s(visits: list[dict[str, Any]]) -> list[float]:
    """All think times but the first of each visit, which nobody can see."""
    return [step["think"] for visit in visits for step in visit["steps"][1:]]
