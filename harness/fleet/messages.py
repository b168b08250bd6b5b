"""What master and workers say to each other, inside one Locust message type.

Each side packs one of these structs into bytes, so Locust only carries a blob. Everything that matters is numbered,
acknowledged, re-sent and idempotent, because Locust's ROUTER socket drops messages to a slow peer without a word. Every
message names an incarnation: the one it is meant for, or the one it comes from; others ignore it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.engine.ceilings import Share

CHANNEL = "harness"

# Tickets name a visit inside an incarnation: lease number << TICKET_BITS | place in the lease.
TICKET_BITS = 20

WorkerState = Literal["joining", "ready", "playing", "leaving", "draining", "finished", "over"]


class Message(msgspec.Struct, tag=True, array_like=True, gc=False):
    """Base of all messages; an `incarnation` is one life of a worker process, from joining to the end or a fence.

    It reads PROCESS-LIFE: see `process_of`.
    """

    incarnation: str


def process_of(incarnation: str) -> str:
    """Which process lives this life: a token that no other process ever has, not even one of the same host and pid."""
    return incarnation.rpartition("-")[0]


# From a worker


class Hello(Message):
    """A new incarnation wants to join; repeated until START comes.

    `capacity` is how much it takes beside others: twice another's, twice its share.
    """

    host: str
    pid: int
    version: str
    capacity: float = 1.0


class Pulse(Message):
    """Answer to a beat: the master's stamp beside the worker's own clock, and the worker's state now."""

    echo_ns: int
    worker_ns: int
    state: WorkerState
    open_visits: int
    queued: int
    begun: int


class LeaseAck(Message):
    """The lease with this number is here."""

    number: int


class Hungry(Message):
    """Closed loop: few visits wait for a slot; `begun` counts those that ever began."""

    begun: int


class SliceReport(Message):
    """One closed second of measurement with the visits that ended in it; re-sent until acknowledged.

    `snapshot` is a packed `measure.Snapshot`; the lists hold tickets. `final` marks the incarnation's last slice.
    """

    number: int
    second: int
    snapshot: bytes
    completed: list[int]
    censored: list[int]
    dropped: list[int]
    revoked: list[int]
    final: bool


class Leave(Message):
    """The worker was asked to go: it begins only what is due very soon, gives the rest back, and ends when all is over.

    Leases after `lease` were not taken and never will be. Repeated until the final slice is acknowledged.
    """

    lease: int


class Trouble(Message):
    """The run must not go on: one clear line, the exit code it means, details for the log.

    With `stays` the incarnation still works, waits for its DRAIN and repeats this until then; else it is gone.
    """

    message: str
    exit_code: int
    details: str
    stays: bool = False


# From the master


class Beat(Message):
    """The master is alive and regards this incarnation as a member; `sent_ns` is its own clock.

    `offset_ns` is the worker's clock minus the master's, as far as that is known by now. `share` is what the worker may
    do now, None before the run has started; the newest beat counts.
    """

    sent_ns: int
    offset_ns: int
    share: Share | None = None


class Start(Message):
    """The run's configuration as JSON; `worker` is the name in the books."""

    worker: str
    config: bytes


class Go(Message):
    """The run starts at this moment of the worker's own clock; `share` is what the worker may do from then on."""

    t0_ns: int
    share: Share


class Lease(Message):
    """Visits to play, in order of their due time (-1: when a slot is free), with as many newline-separated `lines`."""

    number: int
    dues_ns: list[int]
    suffixes: list[str]
    lines: bytes


class SliceAck(Message):
    """The slice with this number is safe."""

    number: int


class Drain(Message):
    """No more leases come: finish what is open by `deadline_ns` (after t0), then send the final slice.

    With `revoke`, what has not begun is given back at once.
    """

    deadline_ns: int
    revoke: bool


FromWorker = Hello | Pulse | LeaseAck | Hungry | SliceReport | Leave | Trouble
FromMaster = Beat | Start | Go | Lease | SliceAck | Drain

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_master = msgspec.msgpack.Decoder(FromMaster).decode
