"""The poller on a kernel that exists only in the test: who is called, and who must not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.engine import poller as poller_module
from harness.engine.poller import READ, WRITE, Poller, Watched


class Epoll:
    """Remembers what is registered and reports what the test made ready; misuse raises as the kernel's would."""

    def __init__(self) -> None:
        self.registered: dict[int, int] = {}
        self.ready: list[tuple[int, int]] = []
        self.closed = False

    def fileno(self) -> int:
        return 99

    def register(self, descriptor: int, events: int) -> None:
        assert descriptor not in self.registered
        self.registered[descriptor] = events

    def modify(self, descriptor: int, events: int) -> None:
        assert descriptor in self.registered
        self.registered[descriptor] = events

    def unregister(self, descriptor: int) -> None:
        del self.registered[descriptor]

    def poll(self, timeout: float, _limit: int) -> list[tuple[int, int]]:
        assert timeout == 0, "the hub must never wait here"
        ready, self.ready = self.ready, []
        return ready

    def close(self) -> None:
        self.closed = True


class Watcher:
    """The loop's one watcher, on the epoll descriptor."""

    def __init__(self, descriptor: int, events: int) -> None:
        self.watched = (descriptor, events)
        self.fire: Callable[[], None] = lambda: pytest.fail("not started")

    def start(self, callback: Callable[[], None]) -> None:
        self.fire = callback

    def stop(self) -> None:
        return

    def close(self) -> None:
        return


class Loop:
    """Hands out the watcher."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []

    def io(self, descriptor: int, events: int) -> Watcher:
        self.watchers.append(Watcher(descriptor, events))
        return self.watchers[-1]


class Told(Watched):
    """Does what it was given when it is told."""

    def __init__(self, does: Callable[[], object]) -> None:
        self.on_ready = does  # type: ignore[assignment,method-assign]


def poller_on(loop: Loop, turns: list[str] | None = None) -> Poller:
    """A poller on the loop; `turns` notes the ends of its turns."""
    return Poller(loop, lambda: None if turns is None else turns.append("over"))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Epoll:
    """The kernel that the next poller talks to."""
    epoll = Epoll()
    monkeypatch.setattr(poller_module, "get_original", lambda _module, _name: lambda: epoll)
    return epoll


def turn(loop: Loop, kernel: Epoll, *descriptors: int) -> None:
    """One turn in which these descriptors are ready."""
    kernel.ready = [(descriptor, READ) for descriptor in descriptors]
    (watcher,) = loop.watchers
    assert watcher.watched == (99, 1)
    watcher.fire()


def test_the_owner_of_each_ready_descriptor_is_called_once(kernel: Epoll) -> None:
    """In the kernel's order, whoever was given last, and then the turn's end; what is not ready is left alone."""
    loop, called = Loop(), []
    poller = poller_on(loop, called)
    for descriptor in (4, 5, 6):
        poller.watch(descriptor, WRITE, Told(lambda: pytest.fail("replaced")))
        poller.watch(descriptor, READ, Told(lambda d=descriptor: called.append(d)))
    turn(loop, kernel, 6, 4)
    assert called == [6, 4, "over"]
    assert kernel.registered == {4: READ, 5: READ, 6: READ}


def test_who_was_forgotten_in_the_same_turn_is_not_called(kernel: Epoll) -> None:
    """A callback that closes another connection takes back its event."""
    loop, called = Loop(), []
    poller = poller_on(loop)
    poller.watch(4, READ, Told(lambda: (called.append(4), poller.forget(5))[0]))
    poller.watch(5, READ, Told(lambda: called.append(5)))
    turn(loop, kernel, 4, 5)
    assert called == [4]
    assert kernel.registered == {4: READ}


def test_a_descriptor_reused_in_the_same_turn_is_not_taken_for_the_old_one(kernel: Epoll) -> None:
    """Closed and opened anew under the same number: its event belonged to the old one, the next turn's is its own."""
    loop, called = Loop(), []
    poller = poller_on(loop)

    def replace() -> None:
        poller.forget(5)
        poller.watch(5, READ, Told(lambda: called.append("new")))

    poller.watch(4, READ, Told(replace))
    poller.watch(5, READ, Told(lambda: called.append("old")))
    turn(loop, kernel, 4, 5)
    assert called == []
    turn(loop, kernel, 5)
    assert called == ["new"]


def test_forgetting_and_closing_may_be_repeated(kernel: Epoll) -> None:
    """A second `forget` or `close`, or a `forget` after `close`, does nothing."""
    poller = poller_on(Loop())
    poller.watch(4, READ, Told(lambda: None))
    poller.forget(4)
    poller.forget(4)
    poller.watch(5, READ, Told(lambda: None))
    poller.close()
    poller.close()
    poller.forget(5)
    assert kernel.closed
