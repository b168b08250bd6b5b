"""What master and workers say to each other, inside one Locust message type.

Each side packs one of these structs into bytes, so Locust only carries a blob. Everything that matters is numbered,
acknowledged, re-sent and idempotent, because Locust's ROUTER socket drops messages to a slow peer without a word. Every
message names an incarnation: the one it is meant for, or the one it comes from; others ignore it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

CHANNEL = "harness"

# Tickets name a visit inside an incarnation: lease number << TICKET_BITS | place in the lease.
TICKET_BITS = 20

WorkerState = Literal["joining", "ready", "playing", "draining", "finished", "over"]


class Message(msgspec.Struct, tag=True, array_like=True, gc=False):
    """Base of all messages; an `incarnation` is one life of a worker process, from joining to the end or a fence."""

    incarnation: str


# From a worker


class Hello(Message):
    """A new incarnation wants to join; repeated until START comes."""

    host: str
    pid: int
    version: str


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
    """The master is alive and regards this incarnation as a member; `sent_ns` is its own clock."""

    sent_ns: int


class Start(Message):
    """The run's configuration as JSON; `offset_ns` is the worker's clock minus the master's.

    `worker` is the name in the books.
    """

    worker: str
    config: bytes
    offset_ns: int


class Go(Message):
    """The run starts at this moment of the worker's own clock; `slots` is the worker's share of a closed loop."""

    t0_ns: int
    slots: int | None


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


FromWorker = Hello | Pulse | LeaseAck | Hungry | SliceReport | Trouble
FromMaster = Beat | Start | Go | Lease | SliceAck | Drain

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_master = msgspec.msgpack.Decoder(FromMaster).decode
