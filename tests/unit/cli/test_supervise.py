"""Watching a run: the final event, the user's patience, and every way a master can fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from harness.cli.fabric import Event, Fabric
from harness.cli.progress import NoProgress
from harness.cli.supervise import Death, Interrupts, RunError, Wish, nothing_died, watch
from harness.errors import ExitCode, InternalError


class FakeChild:
    """A child that has ended with `code`, or runs when it is None."""

    def __init__(self, name: str, code: int | None = None, words: str = "") -> None:
        self.name, self.code, self.words = name, code, words

    def exit_code(self) -> int | None:
        return self.code

    def wait(self, timeout_s: float) -> int | None:
        return self.code

    def last_words(self) -> str:
        return self.words


class FakeFabric:
    """Plays a script: each entry is what one read gives (None: the pipe closed) or a number of interrupts to make."""

    def __init__(
        self,
        script: Sequence[list[Event] | int | None],
        interrupts: Interrupts,
        master: FakeChild | None = None,
        workers: Sequence[FakeChild] = (),
    ) -> None:
        self.script = list(script)
        self.interrupts = interrupts
        self.master = master or FakeChild("master")
        self.workers = list(workers)
        self.asked: list[str] = []
        self.killed = False

    def read(self, timeout_s: float) -> list[Event] | None:
        entry = self.script.pop(0)
        if isinstance(entry, int):
            self.interrupts.count += entry
            return []
        return entry

    def ask_to_stop(self, reason: str) -> None:
        self.asked.append(reason)

    def ask_to_finish(self, reason: str) -> None:
        self.asked.append(f"finish: {reason}")

    def tell_death(self, what: str) -> None:
        self.asked.append(f"died: {what}")

    def kill(self) -> None:
        self.killed = True


class Shown(NoProgress):
    """Keeps what it is asked to show."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.notes: list[str] = []

    def update(self, event: Any) -> None:
        self.events.append(event)

    def note(self, text: str) -> None:
        self.notes.append(text)


FINISHED: Event = {"event": "finished", "summary": {"x": 1}, "out_dir": "d"}
STARTED: Event = {"event": "started"}


def play(
    script: Sequence[list[Event] | int | None],
    silence_s: float = 60.0,
    wish: Callable[[], Wish] | None = None,
    death: Death = nothing_died,
    **children: Any,
) -> tuple[FakeFabric, Shown, Any]:
    """The fabric, the view, and what `watch` returned or raised."""
    interrupts = Interrupts()
    fabric, shown = FakeFabric(script, interrupts, **children), Shown()
    try:
        limits = {"join_limit_s": 0.0, "silence_s": silence_s}
        event = watch(cast(Fabric, fabric), shown, interrupts, **limits, wish=wish, death=death)
        return fabric, shown, event
    except (Exception, KeyboardInterrupt) as error:
        return fabric, shown, error


def test_a_run_to_its_end() -> None:
    """Progress is shown in order, unknown events are passed over, and the final event is returned."""
    progress = [{"event": "progress", "t_s": t_s} for t_s in (1, 2, 3)]
    script = [
        [],
        [{"event": "ready", "workers": 1}],
        [STARTED, progress[0]],
        progress[1:],
        [{"event": "new"}],
        [FINISHED],
    ]
    fabric, shown, result = play(script)
    assert (result, shown.events, fabric.asked, fabric.killed) == (FINISHED, progress, [], False)


def test_the_first_interrupt_asks_and_the_run_still_ends() -> None:
    """One Ctrl-C asks the master once, and its final event is still the result."""
    fabric, shown, result = play([[STARTED], 1, [], [FINISHED]])
    assert (result, fabric.asked, fabric.killed, len(shown.notes)) == (FINISHED, ["interrupt"], False, 1)


@pytest.mark.parametrize(("wished", "asked"), [("finish", "finish: enough was seen"), ("stop", "enough was seen")])
def test_whoever_has_seen_enough_is_asked_no_more(wished: Wish, asked: str) -> None:
    """From the run's start on the wish is asked for until it is for the end, and the master is asked once."""
    wishes: list[Wish] = ["go on", wished]
    fabric, _, result = play([[], [STARTED], [], [], [FINISHED]], wish=lambda: wishes.pop(0))
    assert (result, fabric.asked, wishes) == (FINISHED, [asked], [])


def test_the_second_interrupt_kills() -> None:
    """Who presses twice does not wait."""
    fabric, _, result = play([[STARTED], 1, [], 1, [FINISHED]])
    assert isinstance(result, KeyboardInterrupt)
    assert (fabric.asked, fabric.killed) == (["interrupt"], True)


@pytest.mark.parametrize(("code", "expected"), [(6, ExitCode.GUARD), (2, ExitCode.USAGE), (77, ExitCode.INTERNAL)])
def test_the_masters_error_is_the_commands(code: int, expected: ExitCode) -> None:
    """An error event ends the command with the master's line and exit code; an undocumented code is internal."""
    _, _, result = play([[{"event": "error", "message": "no way", "exit_code": code}]])
    assert isinstance(result, RunError)
    assert (str(result), result.exit_code) == ("no way", expected)


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (1, "boom", "the master ended without a result (exit code 1): boom"),
        (-9, "", "the master ended without a result (signal 9)"),
        (None, "", "the master ended without a result (it closed its events)"),
    ],
)
def test_a_master_that_dies(code: int | None, words: str, message: str) -> None:
    """A master that goes without a final event is one line with its last words."""
    _, _, result = play([[STARTED], None], master=FakeChild("master", code, words))
    assert isinstance(result, InternalError)
    assert str(result) == message


def test_a_worker_that_dies_before_the_run_began() -> None:
    """A worker lost before the start is told at once, with its last words."""
    workers = [FakeChild("worker-1"), FakeChild("worker-2", 1, "no module")]
    _, _, result = play([[], [STARTED], [FINISHED]], workers=workers)
    assert str(result) == "worker-2 ended before the run began (exit code 1): no module"


def test_a_worker_that_dies_during_the_run_is_the_masters_business() -> None:
    """After the start the fleet itself judges the loss of a worker."""
    _, _, result = play([[STARTED], [], [FINISHED]], workers=[FakeChild("worker-1", -9)])
    assert result == FINISHED


def test_silence_ends_the_run() -> None:
    """A master that says nothing for too long is killed, and that is said."""
    fabric, _, result = play([[], [], [FINISHED]], silence_s=-1.0)
    assert isinstance(result, InternalError) and "silent" in str(result)
    assert fabric.killed


def test_a_death_is_told_once_and_the_master_ends_the_run() -> None:
    """As soon as something has died the master hears of it; the result is still awaited."""
    deaths = iter([None, "the simulator ended", "the simulator ended", "the simulator ended"])
    fabric, _, event = play([[STARTED], [], [], [FINISHED]], death=lambda: next(deaths))
    assert (fabric.asked, event) == (["died: the simulator ended"], FINISHED)
